"""A task as it is stored."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.lifecycle import Ending, Intent, Remark, TaskStatus


class _Stored(BaseModel):
    # A document written by a newer version may hold more than this one knows: it is read all the same.
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class TaskUser(_Stored):
    """Whom the task runs as, as known when it was submitted."""

    id: str
    uid: int
    gid: int
    groups: list[int] = []
    home: str | None = None


class TaskVolume(_Stored):
    """A configured volume the task asked for, resolved when it was submitted."""

    name: str
    acl: str
    path: str
    mount: str


class Spec(_Stored):
    """What was asked for; never changes after the task was admitted."""

    name: str
    description: str = ""
    tags: list[str] = []
    cpu: float
    ram: float  #: GB
    image: str
    volumes: list[TaskVolume] = []
    network: bool = False
    root: bool = False
    uris: list[str] = []
    notify_email: bool = False  #: the owner wants a mail when it runs and when it is over
    dynamic: dict[str, str] = {}  #: requirements that may be changed later, as the configuration allows
    cmd: str


class Placement(_Stored):
    """Where the current attempt was put. `epoch` is that of the scheduler which did."""

    node: str
    executor: str
    at: float
    epoch: int


class Failure(_Stored):
    """Failures of nodes, not of the command, that attempts of this task met."""

    reason: list[str] = []
    nodes: list[str] = []
    count: int = 0


class Purge(StrEnum):
    """What of an ended task is still to be removed."""

    FILES = "files"  #: its directory; the record stays
    ALL = "all"  #: both


class Share(_Stored):
    """Lets whoever holds the token see the task. Only its hash is kept."""

    hash: str
    until: float


class Task(_Stored):
    """The whole document. Times are seconds since the epoch."""

    id: int = Field(alias="_id")
    status: TaskStatus
    status_at: float
    submitted_at: float
    queued_at: float  #: when it took its place in the queue; an undone start gives it that place back
    attempt: int = 0
    intent: Intent | None = None  #: None: run
    intent_at: float | None = None
    remark: Remark | None = None  #: what came of the last intent
    user: TaskUser
    project: str = "default"
    spec: Spec
    shape: str  #: what it needs of a node, in one word: tasks alike share the scheduler's verdict
    placement: Placement | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    ending: Ending | None = None
    reason: str | None = None
    failure: Failure = Field(default_factory=Failure)  # a default that is an instance is copied deeply for every task
    share: Share | None = None
    settled: bool = True  #: False from the end of an attempt until its usage is counted and its run removed
    purge: Purge | None = None
    told: int | None = None  #: the attempt whose start is in the outbox, -1 for none yet; None: no mail is owed
    submission: str = ""  #: tells, after a lost answer, whether an insert was ours
    history: list[dict[str, Any]] = []

    def document(self) -> dict[str, Any]:
        """The task as MongoDB takes it."""
        return self.model_dump(by_alias=True, mode="python")


def shape_of(cpu: float, ram: float) -> str:
    """The key under which tasks with the same needs share a verdict, e.g. `cpu=1 ram=2`."""
    return f"cpu={cpu:g} ram={ram:g}"
