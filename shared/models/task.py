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
    """The account a task runs as, resolved at submission."""

    id: str
    uid: int
    gid: int
    groups: list[int] = []
    home: str | None = None


class TaskVolume(Stored):
    """A configured volume that the task requested, resolved at submission."""

    name: str
    acl: str
    path: str
    mount: str


class Network(StrEnum):
    """The network of a task that has one."""

    PUBLIC = "public"  #: the engine's own, with access to the outside
    USER = "user"  #: shared by the tasks of its user
    PROJECT = "project"  #: shared by the tasks of its project


class TmpStorage(Stored):
    """Temporary storage that is removed with the container."""

    size: int  #: bytes
    path: str  #: mount point in the container


class Dependencies(Stored):
    """Ids of the tasks that must end before this one starts, by the required end."""

    ok: list[int] = []  #: which must exit with code 0
    any: list[int] = []  #: which may end in any way
    not_ok: list[int] = []  #: which must not exit with code 0

    @property
    def ids(self) -> list[int]:
        return sorted({*self.ok, *self.any, *self.not_ok})


class Spec(Stored):
    """The request of a task; never changes after admission."""

    name: str
    description: str = ""
    tags: list[str] = []
    cpu: float
    ram: float  #: GB
    image: str
    volumes: list[TaskVolume] = []
    gpus: int = 0
    labels: list[str] = []  #: required labels of a node, `storage==ssd` or `storage!=ssd`
    ports: list[int] = []  #: of the container, reachable from outside
    network: Network | None = None
    tmpstorage: TmpStorage | None = None
    root: bool = False
    uris: list[str] = []
    notify_email: bool = False  #: send the owner a mail when it runs and when it is over
    depends: Dependencies = Field(default_factory=Dependencies)
    restarts: int = 0  #: most restarts after failures of nodes
    lifespan: float | None = None  #: seconds
    ticket_share: float | None = None
    dynamic: dict[str, str] = {}  #: requirements that may change later, as configured
    cmd: str

    @field_validator("network", mode="before")
    @classmethod
    def _of_the_first_version(cls, value: object) -> object:
        """Convert the truth value of the first version, which may not be migrated yet."""
        return (Network.PUBLIC if value else None) if isinstance(value, bool) else value


def range_name(first: int, last: int) -> str:
    """Return the field name of a range of indices."""
    return f"{first}_{last}"


class Array(Stored):
    """
    The array of a parent task: `count` children with the indices `start`, `start + step` …, whose ids are `first_id`,
    `first_id + 1` …. Only the first `made` are certainly stored; the others follow from the parent.
    """

    start: int
    end: int
    step: int
    count: int
    first_id: int
    #: First, last and step of each range if the indices are a list (`3,7-9,20:40:5`); `start` and `end` are the overall
    #: bounds.
    parts: list[tuple[int, int, int]] = []
    made: int = 0
    max_concurrent: int | None = None  #: most children that hold resources at a time
    over: int = 0  #: children that were over when last counted
    killed: list[tuple[int, int]] = []  #: ranges of indices, first and last, that are killed without the rest
    killed_by: dict[str, str] = {}  #: users who requested that, by `range_name`

    @property
    def indices(self) -> Sequence[int]:
        """Indices of the children, in the order of their ids."""
        if self.parts:
            return indices.listed(tuple(self.parts))
        return range(self.start, self.start + self.count * self.step, self.step)

    @property
    def values(self) -> str:
        """The indices in the notation of submissions."""
        if self.parts:
            return indices.shown([range(first, last + 1, step) for first, last, step in self.parts])
        return f"{self.start}:{self.end}:{self.step}"

    def id_of(self, position: int) -> int:
        """Return the id of the child at a position, counted from 0."""
        return self.first_id + position

    def has(self, task_id: int) -> bool:
        """Return whether an id belongs to one of the children."""
        return self.first_id <= task_id < self.first_id + self.count

    def wants_killed(self, index: int) -> bool:
        return any(first <= index <= last for first, last in self.killed)

    def killer_of(self, index: int) -> str | None:
        """Return the user who requested the kill of one child, if recorded."""
        for first, last in self.killed:
            if first <= index <= last and (by := self.killed_by.get(range_name(first, last))):
                return by
        return None


class Member(Stored):
    """A child's part of its array."""

    parent: int
    index: int
    first: int
    last: int
    step: int
    count: int | None = (
        None  #: number of children if the indices are a list; None: derived from `first`, `last` and `step`
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Location of a directory: a task's own or, below that of an array's parent, that of the child with this index."""

    task: int
    index: int | None = None


class Cause(Stored):
    """Why the system itself kills a task."""

    ending: Ending
    reason: str


class Placement(Stored):
    """The placement of the current attempt. `epoch` is that of the placing scheduler."""

    node: str
    executor: str
    at: float
    epoch: int
    gpus: list[str] = []  #: names of devices of the node
    ports: list[int] = []  #: of the node, one for each port of the task
    #: Exclusive ports and devices, `n1/port/10001` and `n1/gpu/0`, kept so by a unique index.
    leases: list[str] = []
    system: str | None = None  #: system mark in the name of its run; None: placed by a version without marks


def leases_of(node: str, gpus: Sequence[str], ports: Sequence[int]) -> list[str]:
    """Return globally unique names for ports and devices of a node that only one task may hold."""
    return [f"{node}/gpu/{name}" for name in gpus] + [f"{node}/port/{port}" for port in ports]


class Failure(Stored):
    """Failures of nodes, not of the command, in attempts of this task."""

    reason: list[str] = []
    nodes: list[str] = []
    count: int = 0


class Purge(StrEnum):
    """Parts of an ended task that are still to be removed."""

    FILES = "files"  #: its directory; the record stays
    ALL = "all"  #: directory and record


class Share(Stored):
    """
    A share token that lets its holder see the task. Only the hash is stored, and the `nonce` from which a gateway, which
    has the secret, makes the token again.
    """

    hash: str
    until: float
    nonce: str | None = None  #: None: of a version that could not make it again


class Task(Stored):
    """The whole document. Times are seconds since the epoch."""

    id: int = Field(alias="_id")
    status: TaskStatus
    status_at: float
    submitted_at: float
    queued_at: float  #: time it entered the queue; an undone start restores it
    attempt: int = 0
    intent: Intent | None = None  #: None: run
    intent_at: float | None = None
    intent_by: str | None = None  #: user who requested it; kept after the end
    cause: Cause | None = None  #: of a kill by the system itself
    remark: IntentResult | None = None  #: result of the last intent
    user: TaskUser
    project: str = "default"
    spec: Spec
    array: Array | None = None  #: of the parent of an array
    member: Member | None = None  #: of a child of one
    waiting_on: list[int] = []  #: open dependencies
    not_before: float | None = None  #: earliest start after a failure
    avoid: list[str] = []  #: nodes that failed it
    shape: str  #: requirements on a node as one string: tasks with the same shape share pending reasons
    placement: Placement | None = None
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    ending: Ending | None = None
    reason: str | None = None
    failure: Failure = Field(
        default_factory=Failure
    )  # an instance as the default would be copied deeply for every task
    share: Share | None = None
    settled: bool = True  #: False from the end of an attempt until its usage is counted and its run removed
    purge: Purge | None = None
    told: int | None = None  #: last attempt whose start is in the outbox, -1: none yet; None: no mail is owed
    request: str | None = None  #: id of the HTTP request that created it, as in the logs
    sent_by: str | None = None  #: admin who submitted it for its user
    submission: str = ""  #: identifies our insert after a lost answer
    history: list[dict[str, Any]] = []

    @property
    def place(self) -> Place:
        """Location of its directory."""
        return Place(self.member.parent, self.member.index) if self.member else Place(self.id)

    @property
    def numbers(self) -> int:
        """Number of ids it needs: its own, and those of its children, which follow."""
        return 1 + (self.array.count if self.array else 0)

    def document(self) -> dict[str, Any]:
        """Return the task as MongoDB stores it."""
        return self.model_dump(by_alias=True, mode="python")


def _exact(size: float) -> str:
    """Return the shortest exact text of a number: two sizes that look alike may fit differently."""
    short = f"{size:g}"
    return short if float(short) == size else repr(size)


def shape_of(spec: Spec, *, avoid: Sequence[str] = ()) -> str:
    """Return the key that tasks with the same requirements share, e.g. `cpu=1 ram=2 gpus=1 labels=storage==ssd`."""
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
