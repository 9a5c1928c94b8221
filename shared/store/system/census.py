"""Counts of active tasks and unsent mails for Prometheus, from indexes alone."""

from __future__ import annotations

from shared.lifecycle import ACTIVE, TaskStatus
from shared.models.notice import OutboxBacklog
from shared.store import connection, indexes


class CensusStore:
    """Counts over all users."""

    def __init__(self, database: connection.Database) -> None:
        self._tasks = database["tasks"]
        self._outbox = database["outbox"]

    @connection.translated
    async def active(self) -> dict[TaskStatus, int]:
        """Return the number of tasks in each active status; the parent of an array counts as one."""
        group = {"$group": {"_id": "$status", "count": {"$sum": 1}}}
        cursor = self._tasks.aggregate([{"$match": indexes.active(ACTIVE)}, group])
        found = {str(document["_id"]): document["count"] async for document in cursor}
        return {status: found.get(status, 0) for status in sorted(ACTIVE)}

    @connection.translated
    async def backlog(self) -> OutboxBacklog:
        """Return the unsent mails."""
        group = {"$group": {"_id": None, "count": {"$sum": 1}, "since": {"$min": "$at"}}}
        async for document in self._outbox.aggregate([{"$match": {"due": {"$type": "date"}}}, group]):
            return OutboxBacklog(document["count"], document["since"])
        return OutboxBacklog(0, None)
