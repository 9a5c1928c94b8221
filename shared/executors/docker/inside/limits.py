"""Limits of a container: what was asked for, no more than its engine has, and the same resource limits on every node. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.units.sizes import GB

MOST_ID = 2**31 - 1  #: of users and groups, for engines
LEAST_CPUS = 0.01  #: that an engine takes

#: Soft and hard (setrlimit(2)) by name. Set by us, or each node's daemon has its own. They are modest, since a daemon without
#: CAP_SYS_RESOURCE raises no hard limit above its own, and every start with such a one fails; for one that has even less there
#: are others. Processes of a task are counted by `PidsLimit`: the kernel counts those of `nproc` for a user on the whole node.
ULIMITS: Sequence[Mapping[str, tuple[int, int]]] = (
    {"core": (0, 0), "nofile": (8192, 16384), "nproc": (16384, 16384)},
    {"core": (0, 0), "nofile": (1024, 4096), "nproc": (4096, 4096)},
    {"core": (0, 0)},
)


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an engine has, whatever is configured of it. Memory in bytes."""

    cpus: int
    memory: int


def capacity(info: Mapping[str, Any]) -> Capacity | None:
    """That of an engine, from its answer to `GET /info`; None where it does not say."""
    cpus, memory = info.get("NCPU"), info.get("MemTotal")
    return Capacity(int(cpus), int(memory)) if cpus and memory else None


def of_run(cpus: float, memory: int, has: Capacity | None) -> dict[str, int]:
    """`HostConfig.NanoCpus`, `Memory` … Nodes may be configured to have more than there is: an engine refuses such limits."""
    cpus = max(LEAST_CPUS, min(cpus, has.cpus) if has else cpus)
    memory = min(memory, has.memory) if has else memory
    return {
        "NanoCpus": round(cpus * 1e9),
        "Memory": memory,
        "MemorySwap": memory,  # the sum of both: no swap
        # All of it: what is in /dev/shm counts as memory, and too much of it is out of memory like anywhere else.
        "ShmSize": memory,
    }


def overcommitment(cpus: float | None, memory: float | None, has: Capacity) -> str | None:
    """What a node is configured to have beyond what its engine has; `memory` in GB. None where that is nothing."""
    beyond = []
    if cpus is not None and cpus > has.cpus:
        beyond.append(f"{cpus:g} cores where the engine has {has.cpus}")
    if memory is not None and memory > has.memory / GB:
        beyond.append(f"{memory:g} GB of memory where it has {has.memory / GB:.1f}")
    return " and ".join(beyond) or None


def ulimits(rung: int) -> list[dict[str, Any]]:
    """`HostConfig.Ulimits`, by the place in `ULIMITS`."""
    return [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in ULIMITS[rung].items()]


def is_refused_ulimit(message: str) -> bool:
    """Whether a start failed because the daemon may not give one of `ULIMITS`."""
    return "rlimit" in message.lower()


def is_refused_cpus(message: str) -> bool:
    """Whether a create failed because the engine has fewer cores than we thought."""
    return "range of cpus" in message.lower()
