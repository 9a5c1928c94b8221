"""How much there is of what is not over: counts for Prometheus, from indexes alone."""

from __future__ import annotations

from dataclasses import dataclass

from shared.lifecycle import ACTIVE, TaskStatus
from shared.store import connection, indexes


@dataclass(frozen=True, slots=True)
class Owed:
    """Mails that wait; `since` is when the oldest one's event was, seconds since the epoch."""

    mails: int
    since: float | None


class CensusStore:
    """Counts over all users."""

    def __init__(self, database: connection.Database) -> None:
        self._tasks = database["tasks"]
        self._outbox = database["outbox"]

    @connection.translated
    async def active(self) -> dict[TaskStatus, int]:
        """How many tasks are in each status but the ends; the parent of an array is one of them."""
        group = {"$group": {"_id": "$status", "count": {"$sum": 1}}}
        cursor = self._tasks.aggregate([{"$match": indexes.active(ACTIVE)}, group])
        found = {str(document["_id"]): document["count"] async for document in cursor}
        return {status: found.get(status, 0) for status in sorted(ACTIVE)}

    @connection.translated
    async def owed(self) -> Owed:
        """The outbox, without what was sent or given up."""
        group = {"$group": {"_id": None, "count": {"$sum": 1}, "since": {"$min": "$at"}}}
        async for document in self._outbox.aggregate([{"$match": {"due": {"$type": "date"}}}, group]):
            return Owed(document["count"], document["since"])
        return Owed(0, None)
