"""Reads of the collection `tasks` that answer the gateway's questions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from shared.lifecycle import ACTIVE, PLACED, WAITING, Intent, TaskStatus
from shared.models.task import Purge, Task
from shared.store import connection, indexes

# Every value that enters a filter was typed by its caller's signature; `$eq` keeps it a value whatever it is.

#: A task that is to be deleted is gone for everybody at once, and from the disks a little later.
NOT_DELETED: Mapping[str, Any] = {"purge": {"$ne": Purge.ALL}}


class TaskViews:
    """What users and operators look at."""

    def __init__(self, database: connection.Database) -> None:
        self._tasks = database["tasks"]

    @connection.translated
    async def get(self, task_id: int) -> Task | None:
        document = await self._tasks.find_one({"_id": {"$eq": task_id}, **NOT_DELETED})
        return Task.model_validate(document) if document else None

    @connection.translated
    async def count(self, statuses: Collection[TaskStatus]) -> int:
        """How many tasks of all users are in one of `statuses`."""
        if set(statuses) > ACTIVE:
            return await self._tasks.estimated_document_count()
        return await self._tasks.count_documents(indexes.active(statuses))

    @connection.translated
    async def count_kills(self) -> int:
        """How many tasks are to be killed and not over yet."""
        return await self._tasks.count_documents({"intent": {"$eq": Intent.KILL, "$type": "string"}})

    @connection.translated
    async def count_waiting(self, user: str | None, *, at_most: int, session: Any = None) -> int:
        """
        How many tasks wait (created or pending), of one user or of all (None), counted up to `at_most`. Counted, not
        remembered: there is no counter that could drift.
        """
        query = indexes.active(WAITING)
        if user is not None:
            query["user.id"] = {"$eq": user}
        return await self._tasks.count_documents(query, limit=max(1, at_most), session=session)

    @connection.translated
    async def images(self) -> Mapping[str, int]:
        """How many tasks used each image."""
        pipeline: list[dict[str, Any]] = [
            {"$sort": {"spec.image": 1}},
            {"$group": {"_id": "$spec.image", "tasks": {"$sum": 1}}},
            {"$sort": {"tasks": -1}},
        ]
        return {row["_id"]: row["tasks"] async for row in self._tasks.aggregate(pipeline)}

    @connection.translated
    async def image(self, image: str) -> int:
        """How many tasks used one image."""
        return int(await self._tasks.count_documents({"spec.image": {"$eq": image}}))

    @connection.translated
    async def used(self) -> list[tuple[str, float, float]]:
        """Node, cores and GB in use on it, by what its placed tasks asked for."""
        pipeline: list[dict[str, Any]] = [
            {"$match": indexes.active(PLACED)},
            {"$group": {"_id": "$placement.node", "cpu": {"$sum": "$spec.cpu"}, "ram": {"$sum": "$spec.ram"}}},
        ]
        cursor = self._tasks.aggregate(pipeline)
        return [(row["_id"], float(row["cpu"]), float(row["ram"])) async for row in cursor]
