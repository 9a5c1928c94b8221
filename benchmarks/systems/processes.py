"""CPU and memory use of a system's processes, by service."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psutil

from tests.support.harness.system import System

_MB = 1024**2


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory in MB. `pss` divides shared pages among their processes, so it can be summed."""

    rss: float
    pss: float


def cpu_seconds(system: System) -> dict[str, float]:
    """Return the processor time so far, in seconds, by service and store."""
    return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in system.pids().items()}


def cpu_shares(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Return the cores used between two readings, by service and store, largest first."""
    shares = {name: round((after[name] - before.get(name, 0.0)) / seconds, 2) for name in after}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def memory(system: System) -> dict[str, Memory]:
    """Return the current memory of each service and store."""
    found = {}
    for name, pid in sorted(system.pids().items()):
        info = psutil.Process(pid).memory_full_info()
        found[name] = Memory(round(info.rss / _MB, 1), round(info.pss / _MB, 1))
    return found


@contextlib.contextmanager
def held_still(system: System, services: Sequence[str]) -> Iterator[None]:
    """Pause services with SIGSTOP, so that they use no processor time."""
    for name in services:
        system.kill(name, signal.SIGSTOP)
    try:
        yield
    finally:
        for name in services:
            system.kill(name, signal.SIGCONT)
