"""Sleep that ends early on a dead child or a request to stop or reload, without threads."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from shared.config import live

_STOP = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """A stop was requested during a wait."""


class Signals:
    """Counts of stop and reload requests, and waits that end early when a signal arrives."""

    def __init__(self, reader: int) -> None:
        self.stops = 0
        self.reloads = 0
        self._had_terminal = live.has_terminal()
        self._reader = reader

    def wait(self, seconds: float) -> None:
        """Sleep at most `seconds`."""
        select.select([self._reader], [], [], max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def pause(self, seconds: float) -> None:
        """Sleep at most `seconds`. Raises `Stopped` as soon as a stop is requested."""
        if not self.stops:
            self.wait(seconds)
        if self.stops:
            raise Stopped

    def on_hangup(self, number: int, frame: FrameType | None) -> None:
        """Count a stop if our terminal has gone, else a reload."""
        if self._had_terminal and not live.has_terminal():
            self.stops += 1
        else:
            self.reloads += 1

    def on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stops += 1


@contextmanager
def caught() -> Iterator[Signals]:
    """Catch SIGINT, SIGTERM, SIGHUP and SIGCHLD until the end of the block."""
    # The interpreter writes a byte to the pipe for every handled signal, so one that arrives just before a sleep ends that sleep.
    reader, writer = os.pipe()
    for descriptor in (reader, writer):
        os.set_blocking(descriptor, False)
    signals = Signals(reader)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, signals.on_stop) for number in _STOP}
    handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, signals.on_hangup)
    handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
    try:
        yield signals
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
