"""Context of a figure: time limit, progress output, and results."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

import psutil

from benchmarks.results import Row


class TooSlow(Exception):
    """A figure exceeded its time limit."""


class Bench:
    """A figure in progress."""

    def __init__(self, name: str, *, quick: bool) -> None:
        self.quick = quick
        self.rows: list[Row] = []
        self.remarks: list[str] = []
        self._name = name
        self._began = time.monotonic()
        self._times = psutil.cpu_times()
        self._load = os.getloadavg()[0]

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def say(self, what: str) -> None:
        """Print progress."""
        print(f"  {self.seconds:6.1f} s  {self._name}: {what}", flush=True)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        words = " ".join(part for part in (f"{row.value:g} {row.unit}", row.spread, row.compared) if part)
        self.say(f"{row.what}: {words}")

    def remark(self, text: str) -> None:
        self.remarks.append(text)
        self.say(text)

    def surroundings(self) -> dict[str, float]:
        """Return load averages before and after, and the machine's percentages of idle, disk-wait and stolen time."""
        now = psutil.cpu_times()
        spent = {name: getattr(now, name) - getattr(self._times, name) for name in now._fields}
        # The time of guests is included in that of users.
        whole = sum(spent.values()) - spent.get("guest", 0) - spent.get("guest_nice", 0) or 1
        shares = {f"{name}_percent": round(100 * spent.get(name, 0) / whole, 1) for name in ("idle", "iowait", "steal")}
        return {"load_before": round(self._load, 2), "load_after": round(os.getloadavg()[0], 2), **shares}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `TooSlow` in the main thread after `seconds`, without interrupting the cleanup."""

    def on_alarm(_: int, __: FrameType | None) -> None:
        raise TooSlow(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
