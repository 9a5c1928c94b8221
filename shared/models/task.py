"""A task as it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator

from shared.lifecycle import Ending, Intent, IntentResult, TaskStatus
from shared.models.stored import Stored
from shared.units import indices


class TaskUser(Stored):
    """Whom the task runs as, as known when it was submitted."""

    id: str
    uid: int
    gid: int
    groups: list[int] = []
    home: str | None = None


class TaskVolume(Stored):
    """A configured volume the task asked for, resolved when it was submitted."""

    name: str
    acl: str
    path: str
    mount: str


class Network(StrEnum):
    """Which network a task that has one is in."""

    PUBLIC = "public"  #: the engine's own, which reaches the world
    USER = "user"  #: one of the tasks of its user
    PROJECT = "project"  #: one of the tasks of its project


class TmpStorage(Stored):
    """Room that goes with the container."""

    size: int  #: bytes
    path: str  #: where the task sees it


class Dependencies(Stored):
    """Ids of the tasks that this one comes after, by how they have to end."""

    ok: list[int] = []  #: with exit code 0
    any: list[int] = []  #: in any way
    not_ok: list[int] = []  #: in any other way than with exit code 0

    @property
    def ids(self) -> list[int]:
        return sorted({*self.ok, *self.any, *self.not_ok})


class Spec(Stored):
    """What was asked for; never changes after the task was admitted."""

    name: str
    description: str = ""
    tags: list[str] = []
    cpu: float
    ram: float  #: GB
    image: str
    volumes: list[TaskVolume] = []
    gpus: int = 0
    labels: list[str] = []  #: what a node's labels must be, `storage==ssd` or `storage!=ssd`
    ports: list[int] = []  #: of the container, to be reached from outside
    network: Network | None = None
    tmpstorage: TmpStorage | None = None
    root: bool = False
    uris: list[str] = []
    notify_email: bool = False  #: the owner wants a mail when it runs and when it is over
    depends: Dependencies = Field(default_factory=Dependencies)
    restarts: int = 0  #: after failures of nodes, at most
    lifespan: float | None = None  #: seconds it may run
    ticket_share: float | None = None
    dynamic: dict[str, str] = {}  #: requirements that may be changed later, as the configuration allows
    cmd: str

    @field_validator("network", mode="before")
    @classmethod
    def _of_the_first_version(cls, value: object) -> object:
        """It said no more than whether there is one, and may not be brought up to date yet."""
        return (Network.PUBLIC if value else None) if isinstance(value, bool) else value


def range_name(first: int, last: int) -> str:
    """The name of a range of indices among the fields of a document."""
    return f"{first}_{last}"


class Array(Stored):
    """
    What the parent of an array holds: it stands for `count` children with the indices `start`, `start + step` …, whose ids
    are `first_id`, `first_id + 1` …. Only the first `made` are sure to be stored: the others are as the parent says.
    """

    start: int
    end: int
    step: int
    count: int
    first_id: int
    #: First, last and step of each range where the indices are a list (`3,7-9,20:40:5`); `start` and `end` are those of all.
    parts: list[tuple[int, int, int]] = []
    made: int = 0
    max_concurrent: int | None = None  #: children that hold resources at a time, at most
    over: int = 0  #: children that came to their end, when they were last counted
    killed: list[tuple[int, int]] = []  #: indices, from and to, that are to be killed without the rest
    killed_by: dict[str, str] = {}  #: users who asked for that, by `range_name`

    @property
    def indices(self) -> Sequence[int]:
        """Those of its children, in the order of their ids."""
        if self.parts:
            return indices.listed(tuple(self.parts))
        return range(self.start, self.start + self.count * self.step, self.step)

    @property
    def values(self) -> str:
        """The indices as they can be sent."""
        if self.parts:
            return indices.shown([range(first, last + 1, step) for first, last, step in self.parts])
        return f"{self.start}:{self.end}:{self.step}"

    def id_of(self, position: int) -> int:
        """The id of the child at a position, counted from 0."""
        return self.first_id + position

    def has(self, task_id: int) -> bool:
        """Whether it is the id of one of the children."""
        return self.first_id <= task_id < self.first_id + self.count

    def wants_killed(self, index: int) -> bool:
        return any(first <= index <= last for first, last in self.killed)

    def killer_of(self, index: int) -> str | None:
        """The user who asked for one child to be killed, where that is known."""
        for first, last in self.killed:
            if first <= index <= last and (by := self.killed_by.get(range_name(first, last))):
                return by
        return None


class Member(Stored):
    """What a child of an array knows of it."""

    parent: int
    index: int
    first: int
    last: int
    step: int
    count: int | None = None  #: of all children, where the indices are a list; None: `first`, `last` and `step` say it


@dataclass(frozen=True, slots=True)
class Place:
    """Whose directory: a task's own or, below that of an array's parent, the one of the child with this index."""

    task: int
    index: int | None = None


class Cause(Stored):
    """Why the system itself wants a task killed, until it is."""

    ending: Ending
    reason: str


class Placement(Stored):
    """Where the current attempt was put. `epoch` is that of the scheduler which did."""

    node: str
    executor: str
    at: float
    epoch: int
    gpus: list[str] = []  #: devices of the node, by name
    ports: list[int] = []  #: of the node, one for each of the task's
    #: What nobody else may hold meanwhile, `n1/port/10001` and `n1/gpu/0`: a unique index sees to it.
    leases: list[str] = []
    system: str | None = None  #: the mark that its run is named with; None: placed by a version without marks


def leases_of(node: str, gpus: Sequence[str], ports: Sequence[int]) -> list[str]:
    """What of a node nobody else may hold, by names that are unique among all nodes."""
    return [f"{node}/gpu/{name}" for name in gpus] + [f"{node}/port/{port}" for port in ports]


class Failure(Stored):
    """Failures of nodes, not of the command, that attempts of this task met."""

    reason: list[str] = []
    nodes: list[str] = []
    count: int = 0


class Purge(StrEnum):
    """What of an ended task is still to be removed."""

    FILES = "files"  #: its directory; the record stays
    ALL = "all"  #: both


class Share(Stored):
    """
    Lets whoever holds the token see the task. The token itself is not kept: only its hash, and the `nonce` that a gateway, which
    has the secret for it, makes it of again.
    """

    hash: str
    until: float
    nonce: str | None = None  #: None: of a version that could not


class Task(Stored):
    """The whole document. Times are seconds since the epoch."""

    id: int = Field(alias="_id")
    status: TaskStatus
    status_at: float
    submitted_at: float
    queued_at: float  #: when it took its place in the queue; an undone start gives it that place back
    attempt: int = 0
    intent: Intent | None = None  #: None: run
    intent_at: float | None = None
    intent_by: str | None = None  #: the user who asked for it; kept after the end
    cause: Cause | None = None  #: of an intent to kill that is the system's own
    remark: IntentResult | None = None  #: what came of the last intent
    user: TaskUser
    project: str = "default"
    spec: Spec
    array: Array | None = None  #: of the parent of an array
    member: Member | None = None  #: of a child of one
    waiting_on: list[int] = []  #: those of its dependencies that are not over yet
    not_before: float | None = None  #: an earlier start than this is too soon after a failure
    avoid: list[str] = []  #: nodes that failed it
    shape: str  #: what it needs of a node, in one line: tasks alike share the scheduler's verdict
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
    request: str | None = None  #: the id of the HTTP request that made it, to be found in the logs
    sent_by: str | None = None  #: the admin who sent it for its user
    submission: str = ""  #: tells, after a lost answer, whether an insert was ours
    history: list[dict[str, Any]] = []

    @property
    def place(self) -> Place:
        """Where its directory is."""
        return Place(self.member.parent, self.member.index) if self.member else Place(self.id)

    @property
    def numbers(self) -> int:
        """How many ids it needs: its own, and those of its children, which follow."""
        return 1 + (self.array.count if self.array else 0)

    def document(self) -> dict[str, Any]:
        """The task as MongoDB takes it."""
        return self.model_dump(by_alias=True, mode="python")


def _exact(size: float) -> str:
    """As short as it can be, and no other size: of two that look the same one may fit where the other does not."""
    short = f"{size:g}"
    return short if float(short) == size else repr(size)


def shape_of(spec: Spec, *, avoid: Sequence[str] = ()) -> str:
    """The key under which tasks with the same needs share a verdict, e.g. `cpu=1 ram=2 gpus=1 labels=storage==ssd`."""
    needs = [f"cpu={_exact(spec.cpu)}", f"ram={_exact(spec.ram)}"]
    if spec.gpus:
        needs.append(f"gpus={spec.gpus}")
    if spec.labels:
        needs.append(f"labels={','.join(sorted(spec.labels))}")
    if spec.ports:
        needs.append(f"ports={len(spec.ports)}")
    if avoid:
        needs.append(f"avoid={','.join(sorted(avoid))}")
    return " ".join(needs)
