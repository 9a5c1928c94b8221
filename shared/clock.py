"""
The only place that reads the time.

A service that works with MongoDB counts from the time of that server, on a clock that never jumps
(`shared.system.timekeeping`). Times that one service writes and another compares are thus on one clock, whatever the clocks
of their machines show.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(slots=True)
class _Kept:
    """State of the clock: `anchor` is a time since the epoch and the reading of `monotonic` at that time."""

    anchor: tuple[float, float] | None = None
    files_ahead: float = 0.0  #: seconds


_kept = _Kept()


def now() -> float:
    """Return seconds since the epoch, UTC, for times that are stored, compared and shown."""
    if _kept.anchor is None:
        return time.time()
    at, reading = _kept.anchor
    return at + (time.monotonic() - reading)


def monotonic() -> float:
    """Return seconds from an arbitrary start that never jump, for deadlines and durations."""
    return time.monotonic()


def of_machine() -> float:
    """Return the time of this machine's clock, which may jump: compare it with others, do not store it."""
    return time.time()


def anchor(at: float | None) -> None:
    """Count from `at`, seconds since the epoch, from now on; None: follow the clock of this machine."""
    _kept.anchor = None if at is None else (at, time.monotonic())


def note_files_ahead(seconds: float) -> None:
    """Record by how many seconds file times on `shared_dir` are ahead of ours."""
    _kept.files_ahead = seconds


def of_file(at: float) -> float:
    """Convert the time of a file on `shared_dir` to our clock."""
    return at - _kept.files_ahead


def day(timestamp: float) -> str:
    """Return the UTC day of a timestamp in the Web API's format, `2026_11_24`."""
    return time.strftime("%Y_%m_%d", time.gmtime(timestamp))
