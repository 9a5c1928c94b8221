"""The state of a node within one planning pass: capacity, free resources, allocations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.models.task import leases_of
from shared.models.work import Pending

IN_MAINTENANCE = "in maintenance"  #: the reason of a node that is not ready because of maintenance


@dataclass(frozen=True, slots=True)
class Allocation:
    """
    The resources of a node that one attempt holds. Memory in bytes; `since`: when it began, `until`: when it ends at
    the latest (seconds since the epoch), None if not known.
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
        """Names of its GPUs and ports, unique among all nodes, that no other attempt may hold meanwhile."""
        return leases_of(self.node, self.gpus, self.ports)


@dataclass(slots=True)
class NodeState:
    """
    A node within a pass; its free resources shrink as the pass places tasks. Memory in bytes. A node that was never
    `seen` has unknown sizes: it is not ready, and might be able to take any task.
    """

    name: str
    cpus: float
    memory: int
    free_cpus: float
    free_memory: int
    ready: bool = True
    reason: str | None = None
    gpus: int = 0  #: number of GPUs, free or not
    free_gpus: list[str] = field(default_factory=list)
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: range = range(0)  #: the ports that tasks may be given
    used_ports: set[int] = field(default_factory=set)
    held: list[Allocation] = field(default_factory=list)
    seen: bool = True

    @property
    def free_ports(self) -> int:
        return len(self.ports) - len(self.used_ports)

    def charge(self, allocation: Allocation) -> None:
        """Subtract `allocation` from what is free."""
        self.free_cpus -= allocation.cpus
        self.free_memory -= allocation.memory
        for name in allocation.gpus:
            if name in self.free_gpus:
                self.free_gpus.remove(name)
        if allocation.ports:
            self.used_ports.update(port for port in allocation.ports if port in self.ports)
        self.held.append(allocation)

    def allocate(self, task: Pending, *, since: float | None = None, until: float | None = None) -> Allocation:
        """Allocate for `task`, which fits: the first free GPUs and the lowest free ports."""
        allocation = Allocation(
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
        self.charge(allocation)
        return allocation

    def _lowest_ports(self, count: int) -> tuple[int, ...]:
        ports: list[int] = []
        for port in self.ports if count else ():
            if port not in self.used_ports:
                ports.append(port)
            if len(ports) == count:
                break
        return tuple(ports)
