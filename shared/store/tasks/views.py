"""Reads of the collection `tasks` that answer the gateway's questions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from shared.lifecycle import ACTIVE, PLACED, WAITING, Intent, TaskStatus
from shared.models.task import Purge, Task
from shared.rules import arrays
from shared.store import amounts, connection, indexes, reading
from shared.store.tasks.arrays import ArrayStore

# Every value that enters a filter was typed by its caller's signature; `$eq` keeps it a value whatever it is.

#: A task that is to be deleted is gone for everybody at once, and from the disks a little later.
NOT_DELETED: Mapping[str, Any] = {"purge": {"$ne": Purge.ALL}}


class TaskViews:
    """What users and operators look at."""

    def __init__(self, database: connection.Database, array_store: ArrayStore) -> None:
        self._tasks = database["tasks"]
        self._arrays = array_store

    @connection.translated
    async def get(self, task_id: int) -> Task | None:
        """The task; a child of an array that is not made yet as its parent says it."""
        return await self._stored(task_id) or await self._unmade(task_id)

    @connection.translated
    async def get_many(self, ids: Sequence[int]) -> list[Task]:
        """Those of `ids` that there are, in no order."""
        cursor = self._tasks.find({"_id": {"$in": list(ids)}, **NOT_DELETED})
        found = await reading.each(Task.model_validate, cursor)
        for task_id in set(ids) - {task.id for task in found}:
            task = await self._unmade(task_id)
            if task is not None:
                found.append(task)
        return found

    @connection.translated
    async def is_stored(self, task_id: int) -> bool:
        """Whether a task is there by itself, and not only as its parent says it."""
        return await self._tasks.find_one({"_id": {"$eq": task_id}, **NOT_DELETED}, {"_id": 1}) is not None

    async def _stored(self, task_id: int) -> Task | None:
        document = await self._tasks.find_one({"_id": {"$eq": task_id}, **NOT_DELETED})
        return reading.one(Task.model_validate, document)

    async def _unmade(self, task_id: int) -> Task | None:
        parent = await self._arrays.covering(task_id)
        if parent is None:
            return None
        array = arrays.array_of(parent)
        position = task_id - array.first_id
        # It may have been made since it was looked for, or be there beyond those that are sure to be.
        return await self._stored(task_id) or (arrays.unmade(parent, position) if position >= array.made else None)

    @connection.translated
    async def count(self, statuses: Collection[TaskStatus]) -> int:
        """How many tasks of all users are in one of `statuses`. An array is its children there, made or not."""
        parents, unmade = (0, 0)
        if TaskStatus.PENDING in statuses:
            parents, unmade = await self._arrays.count_unmade(None)
        if set(statuses) > ACTIVE:
            return await self._tasks.estimated_document_count() + unmade
        return await self._tasks.count_documents(indexes.active(statuses)) - parents + unmade

    @connection.translated
    async def count_kills(self) -> int:
        """How many tasks are to be killed and not over yet."""
        return await self._tasks.count_documents({"intent": {"$eq": Intent.KILL, "$type": "string"}})

    @connection.translated
    async def some_pending(self, user: str, *, at_most: int) -> list[tuple[int, str]]:
        """Ids and shapes of pending tasks of a user, in no order."""
        query = {**indexes.active([TaskStatus.PENDING]), "user.id": {"$eq": user}}
        cursor = self._tasks.find(query, {"shape": 1}).limit(at_most)
        return [(found["_id"], str(found.get("shape"))) async for found in cursor]

    @connection.translated
    async def count_waiting(self, user: str | None, *, at_most: int, session: Any = None) -> int:
        """
        How many tasks wait (created or pending), of one user or of all (None), counted up to `at_most` or a little beyond. An
        array is its children that wait. Counted, not remembered: there is no counter that could drift.
        """
        parents, unmade = await self._arrays.count_unmade(user, session=session)
        query = indexes.active(WAITING)
        if user is not None:
            query["user.id"] = {"$eq": user}
        counted = await self._tasks.count_documents(query, limit=max(1, at_most + parents), session=session)
        return max(0, counted - parents) + unmade

    @connection.translated
    async def images(self) -> Mapping[str, int]:
        """How many tasks used each image."""
        pipeline: list[dict[str, Any]] = [
            {"$sort": {"spec.image": 1}},
            {"$group": {"_id": "$spec.image", "tasks": {"$sum": 1}}},
            {"$sort": {"tasks": -1}},
        ]
        return {
            row["_id"]: row["tasks"] async for row in self._tasks.aggregate(pipeline) if isinstance(row["_id"], str)
        }

    @connection.translated
    async def image(self, image: str) -> int:
        """How many tasks used one image."""
        return int(await self._tasks.count_documents({"spec.image": {"$eq": image}}))

    @connection.translated
    async def used(self) -> list[tuple[str, float, float]]:
        """Node, cores and GB in use on it, by what its placed tasks asked for."""
        cpu, ram = ({"$sum": amounts.amount(field)} for field in ("$spec.cpu", "$spec.ram"))
        pipeline: list[dict[str, Any]] = [
            {"$match": indexes.active(PLACED)},
            {"$group": {"_id": "$placement.node", "cpu": cpu, "ram": ram}},
        ]
        cursor = self._tasks.aggregate(pipeline)
        return [
            (row["_id"], float(row["cpu"]), float(row["ram"])) async for row in cursor if isinstance(row["_id"], str)
        ]
