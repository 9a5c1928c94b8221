"""Facts about the MongoDB server, as checks of an installation need them: pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MongoServer:
    """The server that answered. Times are seconds since the epoch."""

    version: str
    replica_set: str | None  #: name; None: it is not a member of one
    members: int  #: of the replica set
    has_primary: bool
    has_journal: bool | None  #: None: this login may not ask
    time: float  #: by the server's clock, read between `asked_at` and `answered_at` of ours
    asked_at: float
    answered_at: float
