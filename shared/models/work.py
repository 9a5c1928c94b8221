"""Projections of stored tasks for the loops of scheduler and watcher: pure."""

from __future__ import annotations

from dataclasses import dataclass

from shared.lifecycle import ENDED, PLACED, Ending, Intent, TaskStatus
from shared.models.task import Array, Cause, Place


@dataclass(frozen=True, slots=True)
class Pending:
    """A pending task in the scheduler's book. Memory in bytes; `attempt` is the number of its last attempt."""

    id: int
    attempt: int
    user: str
    project: str
    shape: str
    cpus: float
    memory: int
    queued_at: float
    gpus: int = 0
    labels: tuple[str, ...] = ()
    ports: int = 0  #: how many
    waiting_on: tuple[int, ...] = ()  #: ids of tasks that have to end first
    not_before: float | None = None
    avoid: tuple[str, ...] = ()  #: nodes
    ticket_share: float | None = None
    parent: int | None = None  #: id of the array, for a child
    array: Array | None = None  #: for a parent, which is never placed itself
    lifespan: float | None = None  #: seconds, as requested; the configured maximum may be lower

    @property
    def seniority(self) -> tuple[float, int]:
        """Sort key: the earliest first, then the lowest id."""
        return self.queued_at, self.id


@dataclass(frozen=True, slots=True)
class Placed:
    """A starting or running task, which holds resources of a node. Times are seconds since the epoch."""

    id: int
    attempt: int
    status: TaskStatus
    intent: Intent | None
    intent_at: float | None
    image: str
    node: str
    cpus: float
    memory: int
    status_at: float
    started_at: float | None
    user: str = ""
    project: str = ""
    gpus: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    parent: int | None = None
    index: int | None = None
    lifespan: float | None = None  #: seconds, as requested; the configured maximum may be lower
    cause: Cause | None = None
    request: str | None = None  #: see `Task.request`
    intent_by: str | None = None  #: user who requested the intent
    suspended: bool = False
    is_noted_paused: bool = False  #: somebody else paused it, and its reason says so
    system: str | None = None  #: see `Placement.system`

    @property
    def place(self) -> Place:
        """Location of its directory."""
        return Place(self.id) if self.parent is None else Place(self.parent, self.index)


@dataclass(frozen=True, slots=True)
class WaitingKill:
    """A task without resources whose owner requested a kill."""

    id: int
    attempt: int
    status: TaskStatus
    user: str
    request: str | None
    intent_by: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """An ended attempt with the fields for accounting."""

    id: int
    attempt: int
    node: str | None
    user: str
    project: str
    cpus: float
    ram: float  #: GB
    started_at: float | None
    ended_at: float
    gpus: int = 0
    system: str | None = None  #: see `Placement.system`


@dataclass(frozen=True, slots=True)
class Progress:
    """The present state of a task. `node` is that of the current attempt."""

    id: int
    attempt: int
    status: TaskStatus
    node: str | None = None
    ending: Ending | None = None
    exit_code: int | None = None
    reason: str | None = None
    started_at: float | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    def is_live(self, attempt: int) -> bool:
        """Return whether `attempt` is the current one and may still write."""
        return attempt == self.attempt and self.status in PLACED
