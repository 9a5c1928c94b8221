"""The only place that asks what time it is."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]


def now() -> float:
    """Seconds since the epoch, UTC: for what is stored and shown."""
    return time.time()


def monotonic() -> float:
    """Seconds from an arbitrary start that never jump: for deadlines and durations."""
    return time.monotonic()


def day(timestamp: float) -> str:
    """The UTC day of a timestamp as the Web API writes it, `2026_11_24`."""
    return time.strftime("%Y_%m_%d", time.gmtime(timestamp))
