"""A node as the scheduler last saw it, for those who ask about it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from shared.models.stored import Stored

ALL = "all"  #: name of the whole system, where the name of a node may stand
TRIES = 3  #: consecutive failed tries before a node can count as lost
NEVER = "can never run here"  #: how the reason begins of what no node could ever take


class Node(Stored):
    """Sizes in cores and bytes. `seen_at` is when it last answered, seconds since the epoch."""

    id: str = Field(alias="_id")
    executor: str
    ready: bool
    reason: str | None = None
    cpus: float
    memory: int
    disk_used: int = 0
    disk_total: int = 0
    gpus: list[str] = []  #: devices by name
    labels: dict[str, str] = {}
    version: str = ""
    checked_at: float
    seen_at: float | None = None
    engine_cpus: int | None = None  #: cores that its engine has, where that is known: no limit is above it
    engine_memory: int | None = None  #: bytes
    stuck: int | None = None  #: runs that go on after they were killed; written by who watches the node


class StoredReason(Stored):
    """
    Why tasks could not be placed when they were last looked at: those of one shape, or of one array (`array 12`), or those that
    count against one quota (`user alice`), or those of a user in a project of whom nothing is started (`owner alice lab`).
    """

    id: str = Field(alias="_id")  #: whom it is about, see `reason_ids`
    reason: str
    at: float

    @property
    def is_never(self) -> bool:
        """Whether no node that was seen could ever take such tasks."""
        return self.reason.startswith(NEVER)


def owner_id(user: str, project: str) -> str:
    """The id of the verdict on all tasks of a user in a project."""
    return f"owner {user} {project}"


def reason_ids(shape: str, user: str, project: str, array: int | None) -> list[str]:
    """The ids of the verdicts that concern a task; of those that there are, the latest counts."""
    return [
        shape,
        f"user {user}",
        f"project {project}",
        owner_id(user, project),
        *([f"array {array}"] if array is not None else []),
    ]


@dataclass(frozen=True, slots=True)
class UnreachableNode:
    """A node that does not answer. `since` and `at` are on the clock of the MongoDB server, seconds since the epoch."""

    node: str
    since: float
    at: float  #: of the last try
    seconds: float  #: unreachable time without gaps between tries
    tries: int  #: consecutive, without a gap in which nobody tried
    reason: str

    def is_lost(self, after: float) -> bool:
        """Return whether the node was unreachable for `after` seconds and was tried often enough."""
        return self.seconds >= after and self.tries >= TRIES
