"""
The only place that asks what time it is.

A service that works with MongoDB counts from the time of that server, on a clock that never jumps (`timekeeping`): what
one writes and another compares is on one clock, whatever the clocks of their machines say.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(slots=True)
class _Kept:
    """What this process knows of time: `anchor` is a time since the epoch and the reading of `monotonic` that belongs to it."""

    anchor: tuple[float, float] | None = None
    files_ahead: float = 0.0  #: seconds


_kept = _Kept()


def now() -> float:
    """Seconds since the epoch, UTC: for what is stored, compared and shown."""
    if _kept.anchor is None:
        return time.time()
    at, reading = _kept.anchor
    return at + (time.monotonic() - reading)


def monotonic() -> float:
    """Seconds from an arbitrary start that never jump: for deadlines and durations."""
    return time.monotonic()


def of_machine() -> float:
    """What the clock of this machine says, which may jump: to be compared with others, not to be stored."""
    return time.time()


def anchor(at: float | None) -> None:
    """From here on count from `at`, seconds since the epoch; None: go by the clock of this machine."""
    _kept.anchor = None if at is None else (at, time.monotonic())


def note_files_ahead(seconds: float) -> None:
    """The times of files on `shared_dir` are ahead of ours by so much."""
    _kept.files_ahead = seconds


def of_file(at: float) -> float:
    """The time of a file on `shared_dir`, in ours."""
    return at - _kept.files_ahead


def day(timestamp: float) -> str:
    """The UTC day of a timestamp as the Web API writes it, `2026_11_24`."""
    return time.strftime("%Y_%m_%d", time.gmtime(timestamp))
