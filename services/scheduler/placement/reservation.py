"""A reservation of a node for the task at the head of the queue, and the tasks that it permits: pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from services.scheduler.placement.node_state import NodeState
from shared.models.work import Pending
from shared.units import durations

EPSILON = 1e-6  #: cores: sums of fractions are not exact


@dataclass(frozen=True, slots=True)
class Amounts:
    """Amounts of the resources of a node. Memory in bytes; GPUs and ports as numbers."""

    cpus: float
    memory: int
    gpus: int
    ports: int

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.cpus + other.cpus, self.memory + other.memory, self.gpus + other.gpus, self.ports + other.ports
        )

    def __sub__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.cpus - other.cpus, self.memory - other.memory, self.gpus - other.gpus, self.ports - other.ports
        )

    def holds(self, need: Amounts) -> bool:
        """Check that each needed amount is there. An amount that is not needed may be negative."""
        return (
            (not need.cpus or self.cpus + EPSILON >= need.cpus)
            and (not need.memory or self.memory >= need.memory)
            and (not need.gpus or self.gpus >= need.gpus)
            and (not need.ports or self.ports >= need.ports)
        )


def need_of(task: Pending) -> Amounts:
    return Amounts(task.cpus, task.memory, task.gpus, task.ports)


def free_of(node: NodeState) -> Amounts:
    return Amounts(node.free_cpus, node.free_memory, len(node.free_gpus), node.free_ports)


@dataclass(frozen=True, slots=True)
class Reservation:
    """
    `node` is reserved for task `task_id`. `start`: its expected start there (seconds since the epoch), None if not
    known; then another node may be reserved `patience` seconds after `since`. `spare`: what the node will have left
    beside the task.
    """

    task_id: int
    shape: str
    node: str
    start: float | None
    spare: Amounts
    now: float
    maxlifespan: float | None = None  #: seconds that any task may run at most
    since: float = 0.0
    patience: float = 0.0

    def permits(self, task: Pending) -> bool:
        """
        Check whether `task` can use the node without delaying the reserved start: it ends before, or fits beside it.
        """
        return self.ends_before(task) or self.spare.holds(need_of(task))

    def ends_before(self, task: Pending) -> bool:
        """Check whether `task` is sure to end before the expected start."""
        lifespan = durations.shortest(task.lifespan, self.maxlifespan)
        return self.start is not None and lifespan is not None and self.now + lifespan <= self.start

    def beside(self, task: Pending) -> Reservation:
        """Return the reservation after `task`, which it permits, was placed on the node."""
        return self if self.ends_before(task) else replace(self, spare=self.spare - need_of(task))

    @property
    def text(self) -> str:
        when = "its start is not known" if self.start is None else f"it is expected to start at {_utc(self.start)}"
        return f"{self.node} is reserved for task {self.task_id}, {when}"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
