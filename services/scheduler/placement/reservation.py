"""A node that is kept for the task at the head of the queue, and who may use it all the same: pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from services.scheduler.placement.node_state import NodeState
from shared.models.work import Pending
from shared.units import durations

EPSILON = 1e-6  #: cores: sums of fractions are not exact


@dataclass(frozen=True, slots=True)
class Amounts:
    """What of a node is free or needed; of devices and ports how many. Memory in bytes."""

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
        """Whether there is as much as is needed. Of what is not needed there may be less than nothing."""
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
    `node` is kept for task `task_id`, which is expected to `start` there (seconds since the epoch; None: nobody knows). `spare`
    is what will be left of the node beside it. Where nobody knows, another node may be kept instead after `patience` seconds
    from `since` on.
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
        """Whether `task` can go to the node without making the other one wait longer: it ends before, or fits beside it."""
        return self.ends_before(task) or self.spare.holds(need_of(task))

    def ends_before(self, task: Pending) -> bool:
        """Whether `task` is sure to have ended when the other one is expected to start."""
        lifespan = durations.shortest(task.lifespan, self.maxlifespan)
        return self.start is not None and lifespan is not None and self.now + lifespan <= self.start

    def beside(self, task: Pending) -> Reservation:
        """The reservation after `task`, which it permits, was put on the node."""
        return self if self.ends_before(task) else replace(self, spare=self.spare - need_of(task))

    @property
    def text(self) -> str:
        when = "its start is not known" if self.start is None else f"it is expected to start at {_utc(self.start)}"
        return f"{self.node} is reserved for task {self.task_id}, {when}"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
