"""A node as the scheduler last saw it, and why tasks are pending. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from shared.models.stored import Stored

ALL = "all"  #: name of the whole system, where the name of a node may stand
TRIES = 3  #: consecutive failed tries before a node can count as lost
NEVER = "can never run here"  #: start of the reason for shapes that no node could ever take


class Node(Stored):
    """A node's last report. Sizes in cores and bytes; `seen_at` is the time of its last answer, seconds since the epoch."""

    id: str = Field(alias="_id")
    executor: str
    ready: bool
    reason: str | None = None
    cpus: float
    memory: int
    disk_used: int = 0
    disk_total: int = 0
    gpus: list[str] = []  #: names of devices
    labels: dict[str, str] = {}
    version: str = ""
    checked_at: float
    seen_at: float | None = None
    engine_cpus: int | None = None  #: cores of its engine, where known: no limit exceeds them
    engine_memory: int | None = None  #: bytes
    stuck: int | None = None  #: killed runs that go on; written by its watcher


class StoredReason(Stored):
    """
    Why tasks were pending when last checked: the tasks of one shape, of one array (`array 12`), under one quota (`user
    alice`), or of a user in a project that may not start any (`owner alice lab`).
    """

    id: str = Field(alias="_id")  #: the tasks it is about, see `reason_ids`
    reason: str
    at: float

    @property
    def is_never(self) -> bool:
        """True if no known node could ever take such tasks."""
        return self.reason.startswith(NEVER)


def owner_id(user: str, project: str) -> str:
    """Return the id of the reason for all tasks of a user in a project."""
    return f"owner {user} {project}"


def reason_ids(shape: str, user: str, project: str, array: int | None) -> list[str]:
    """Return the ids of the reasons that concern a task; the latest stored one counts."""
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
