"""Reads of the collection `tasks` for the gateway."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from shared.lifecycle import ACTIVE, PLACED, WAITING, Ending, Intent, TaskStatus
from shared.models.task import Purge, Task
from shared.models.work import Progress
from shared.rules import arrays
from shared.store import amounts, connection, indexes, reading, typed
from shared.store.tasks.arrays import ArrayStore

# Callers type every value of a filter; `$eq` keeps it a value in any case.

#: Hides deleted tasks at once; their files follow a little later.
NOT_DELETED: Mapping[str, Any] = {"purge": {"$ne": Purge.ALL}}


_PROGRESS = ("attempt", "status", "placement.node", "ending", "exit_code", "reason", "started_at")


class TaskViews:
    """Queries for users and operators."""

    def __init__(self, database: connection.Database, array_store: ArrayStore) -> None:
        self._tasks = database["tasks"]
        self._arrays = array_store

    @connection.translated
    async def get(self, task_id: int) -> Task | None:
        """Return the task; a child of an array that is not stored yet as its parent describes it."""
        return await self._stored(task_id) or await self._unmade(task_id)

    @connection.translated
    async def get_many(self, ids: Sequence[int]) -> list[Task]:
        """Return the tasks of `ids` that exist, in no order."""
        cursor = self._tasks.find({"_id": {"$in": list(ids)}, **NOT_DELETED})
        found = await reading.each(Task.model_validate, cursor)
        for task_id in set(ids) - {task.id for task in found}:
            task = await self._unmade(task_id)
            if task is not None:
                found.append(task)
        return found

    @connection.translated
    async def progress(self, ids: Sequence[int]) -> dict[int, Progress]:
        """Return the progress of those of `ids` that exist, by id; of a child of an array that is not made yet as pending."""
        cursor = self._tasks.find({"_id": {"$in": list(ids)}, **NOT_DELETED}, _PROGRESS)
        found = {one.id: one for one in await reading.each(_progress, cursor)}
        for task_id in set(ids) - found.keys():
            if await self._arrays.covering(task_id) is not None:
                found[task_id] = Progress(task_id, 0, TaskStatus.PENDING)
        return found

    @connection.translated
    async def is_stored(self, task_id: int) -> bool:
        """Return whether a task has a document of its own."""
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
        # It may have been stored since the first look, or be one beyond those that are certainly stored.
        return await self._stored(task_id) or (arrays.unmade(parent, position) if position >= array.made else None)

    @connection.translated
    async def count(self, statuses: Collection[TaskStatus]) -> int:
        """Return how many tasks of all users have one of `statuses`. An array counts as its children, stored or not."""
        parents, unmade = (0, 0)
        if TaskStatus.PENDING in statuses:
            parents, unmade = await self._arrays.count_unmade(None)
        if set(statuses) > ACTIVE:
            return await self._tasks.estimated_document_count() + unmade
        return await self._tasks.count_documents(indexes.active(statuses)) - parents + unmade

    @connection.translated
    async def count_kills(self) -> int:
        """Return how many active tasks are to be killed."""
        return await self._tasks.count_documents({"intent": {"$eq": Intent.KILL, "$type": "string"}})

    @connection.translated
    async def some_pending(self, user: str, *, at_most: int) -> list[tuple[int, str]]:
        """Return ids and shapes of pending tasks of a user, in no order."""
        query = {**indexes.active([TaskStatus.PENDING]), "user.id": {"$eq": user}}
        cursor = self._tasks.find(query, {"shape": 1}).limit(at_most)
        return [(found["_id"], str(found.get("shape"))) async for found in cursor]

    @connection.translated
    async def count_waiting(self, user: str | None, *, at_most: int, session: Any = None) -> int:
        """
        Return how many tasks are created or pending, of one user or (None) of all, counted up to `at_most` or a little
        beyond. An array counts as its waiting children. Counted each time: a counter could drift.
        """
        parents, unmade = await self._arrays.count_unmade(user, session=session)
        query = indexes.active(WAITING)
        if user is not None:
            query["user.id"] = {"$eq": user}
        counted = await self._tasks.count_documents(query, limit=max(1, at_most + parents), session=session)
        return max(0, counted - parents) + unmade

    @connection.translated
    async def images(self) -> Mapping[str, int]:
        """Return how many tasks used each image."""
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
        """Return how many tasks used one image."""
        return int(await self._tasks.count_documents({"spec.image": {"$eq": image}}))

    @connection.translated
    async def used(self) -> list[tuple[str, float, float]]:
        """Return each node's cores and GB in use, as its placed tasks requested them."""
        cpu, ram = ({"$sum": amounts.amount(field)} for field in ("$spec.cpu", "$spec.ram"))
        pipeline: list[dict[str, Any]] = [
            {"$match": indexes.active(PLACED)},
            {"$group": {"_id": "$placement.node", "cpu": cpu, "ram": ram}},
        ]
        cursor = self._tasks.aggregate(pipeline)
        return [
            (row["_id"], float(row["cpu"]), float(row["ram"])) async for row in cursor if isinstance(row["_id"], str)
        ]


def _progress(document: dict[str, Any]) -> Progress:
    ending = document.get("ending")
    found = Progress(
        id=document["_id"],
        attempt=document["attempt"],
        status=TaskStatus(document["status"]),
        node=(document.get("placement") or {}).get("node"),
        ending=Ending(ending) if ending else None,
        exit_code=document.get("exit_code"),
        reason=document.get("reason"),
        started_at=document.get("started_at"),
    )
    return typed.checked(found)
