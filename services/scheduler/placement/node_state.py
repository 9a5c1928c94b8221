"""A node in one planning pass: what it has, what of it is free, and what is taken of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.models.task import leases_of
from shared.models.work import Pending

IN_MAINTENANCE = "in maintenance"  #: the reason of a node that is not ready because of maintenance


@dataclass(frozen=True, slots=True)
class Allocation:
    """
    What one attempt holds of a node. Memory in bytes; `since` is when it began, and `until` when it ends at the latest (seconds
    since the epoch), None if that is not known.
    """

    node: str
    cpus: float
    memory: int
    gpus: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    since: float | None = None
    until: float | None = None
    user: str = ""
    project: str = ""
    parent: int | None = None  #: the array it is a child of
    suspended: bool = False

    @property
    def leases(self) -> list[str]:
        """What of it nobody else may hold meanwhile, by names that are unique among all nodes."""
        return leases_of(self.node, self.gpus, self.ports)


@dataclass(slots=True)
class NodeState:
    """
    A node as a pass sees it; what is free shrinks while the pass places tasks. Memory in bytes. One that was never `seen` has
    sizes that nobody knows: it is not ready, and might take anything.
    """

    name: str
    cpus: float
    memory: int
    free_cpus: float
    free_memory: int
    ready: bool = True
    reason: str | None = None
    gpus: int = 0  #: how many there are
    free_gpus: list[str] = field(default_factory=list)
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: range = range(0)  #: those that tasks are given
    used_ports: set[int] = field(default_factory=set)
    held: list[Allocation] = field(default_factory=list)
    seen: bool = True

    @property
    def free_ports(self) -> int:
        return len(self.ports) - len(self.used_ports)

    def charge(self, allocation: Allocation) -> None:
        """`allocation` is held here."""
        self.free_cpus -= allocation.cpus
        self.free_memory -= allocation.memory
        for name in allocation.gpus:
            if name in self.free_gpus:
                self.free_gpus.remove(name)
        if allocation.ports:
            self.used_ports.update(port for port in allocation.ports if port in self.ports)
        self.held.append(allocation)

    def allocate(self, task: Pending, *, since: float | None = None, until: float | None = None) -> Allocation:
        """Give `task`, which fits, what it needs: of devices the first ones, of ports the lowest."""
        given = Allocation(
            self.name,
            task.cpus,
            task.memory,
            tuple(self.free_gpus[: task.gpus]),
            self._lowest_ports(task.ports),
            since,
            until,
            task.user,
            task.project,
            task.parent,
        )
        self.charge(given)
        return given

    def _lowest_ports(self, count: int) -> tuple[int, ...]:
        found: list[int] = []
        for port in self.ports if count else ():
            if port not in self.used_ports:
                found.append(port)
            if len(found) == count:
                break
        return tuple(found)
