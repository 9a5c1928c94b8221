"""Limits of a container: as requested, capped at its engine's capacity, with equal resource limits on every node: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.units.sizes import GB

MOST_ID = 2**31 - 1  #: highest uid and gid that engines accept
LEAST_CPUS = 0.01  #: that an engine accepts

#: Soft and hard limits (setrlimit(2)) by name, set by us because daemons differ. They are modest, since a daemon without
#: CAP_SYS_RESOURCE raises no hard limit above its own, and every start that needs it fails; for daemons with even less there
#: are lower ones. `PidsLimit` counts a task's processes: with `nproc`, the kernel counts a user's on the whole node.
ULIMITS: Sequence[Mapping[str, tuple[int, int]]] = (
    {"core": (0, 0), "nofile": (8192, 16384), "nproc": (16384, 16384)},
    {"core": (0, 0), "nofile": (1024, 4096), "nproc": (4096, 4096)},
    {"core": (0, 0)},
)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The real size of an engine, whatever is configured. Memory in bytes."""

    cpus: int
    memory: int


def capacity(info: Mapping[str, Any]) -> Capacity | None:
    """Return an engine's capacity from its answer to `GET /info`; None where it lacks it."""
    cpus, memory = info.get("NCPU"), info.get("MemTotal")
    return Capacity(int(cpus), int(memory)) if cpus and memory else None


def of_run(cpus: float, memory: int, has: Capacity | None) -> dict[str, int]:
    """
    Return `HostConfig.NanoCpus`, `Memory` …, capped at the capacity: nodes may be configured with more than there is, and engines
    refuse such limits.
    """
    cpus = max(LEAST_CPUS, min(cpus, has.cpus) if has else cpus)
    memory = min(memory, has.memory) if has else memory
    return {
        "NanoCpus": round(cpus * 1e9),
        "Memory": memory,
        "MemorySwap": memory,  # the sum of both: no swap
        # All of the memory: content of /dev/shm counts as memory, and too much of it is out of memory like any other.
        "ShmSize": memory,
    }


def overcommitment(cpus: float | None, memory: float | None, has: Capacity) -> str | None:
    """Return what is configured of a node beyond its engine's capacity, `memory` in GB; None where it fits."""
    beyond = []
    if cpus is not None and cpus > has.cpus:
        beyond.append(f"{cpus:g} cores where the engine has {has.cpus}")
    if memory is not None and memory > has.memory / GB:
        beyond.append(f"{memory:g} GB of memory where it has {has.memory / GB:.1f}")
    return " and ".join(beyond) or None


def ulimits(rung: int) -> list[dict[str, Any]]:
    """Return `HostConfig.Ulimits` for a place in `ULIMITS`."""
    return [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in ULIMITS[rung].items()]


def is_refused_ulimit(message: str) -> bool:
    """Return whether a start failed because the daemon may not set one of `ULIMITS`."""
    return "rlimit" in message.lower()


def is_refused_cpus(message: str) -> bool:
    """Return whether a create failed because the engine has fewer cores than known."""
    return "range of cpus" in message.lower()
