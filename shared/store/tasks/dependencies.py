"""Queries and updates of tasks that depend on others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pymongo import UpdateOne

from shared.lifecycle import ENDED, TaskStatus
from shared.models.task import Dependencies
from shared.rules.dependencies import End, Waiting
from shared.store import connection, reading, typed
from shared.store.indexes import GATED
from shared.store.tasks.arrays import ArrayStore

_FIELDS = ("attempt", "status", "spec.depends", "waiting_on")


class DependencyStore:
    """Tasks that wait for others, and how those ended."""

    def __init__(self, database: connection.Database, arrays: ArrayStore) -> None:
        self._tasks = database["tasks"]
        self._arrays = arrays

    @connection.translated
    async def gated(self) -> list[Waiting]:
        """Return all tasks with open dependencies."""
        cursor = self._tasks.find(GATED, _FIELDS).hint("waiting_on").batch_size(10_000)
        return await reading.each(_waiting, cursor)

    @connection.translated
    async def followers(self, ids: Collection[int]) -> list[Waiting]:
        """Return the tasks that wait for one of `ids`."""
        query = {**GATED, "waiting_on": {"$in": list(ids)}}
        return await reading.each(_waiting, self._tasks.find(query, _FIELDS).batch_size(10_000))

    @connection.translated
    async def ends(self, ids: Collection[int]) -> dict[int, End]:
        """Return how those of `ids` that are over ended."""
        ends: dict[int, End] = {}
        missing = set(ids)
        # A record that is about to be removed still counts.
        cursor = self._tasks.find({"_id": {"$in": list(ids)}}, {"status": 1, "exit_code": 1}).batch_size(10_000)
        async for found in cursor:
            missing.discard(found["_id"])
            if found["status"] in ENDED:
                ends[found["_id"]] = End(found.get("exit_code"))
        for task_id in missing:
            end = await self._end_of_missing(task_id)
            if end is not None:
                ends[task_id] = end
        return ends

    async def _end_of_missing(self, task_id: int) -> End | None:
        parent = await self._arrays.covering(task_id)
        if parent is None or parent.array is None:
            return End(None, known=False)
        if parent.status in ENDED:
            unmade = task_id >= parent.array.id_of(parent.array.made)
            return End(parent.exit_code) if unmade else End(None, known=False)
        return None  # the child is not stored yet

    @connection.translated
    async def satisfied(self, found: Mapping[int, Sequence[int]]) -> None:
        """Remove these ids from the tasks' open dependencies. Idempotent."""
        if found:
            operations = [
                UpdateOne({"_id": task_id}, {"$pull": {"waiting_on": {"$in": list(ids)}}})
                for task_id, ids in found.items()
            ]
            await self._tasks.bulk_write(operations, ordered=False)


def _waiting(document: Mapping[str, Any]) -> Waiting:
    found = Waiting(
        id=document["_id"],
        attempt=document["attempt"],
        status=TaskStatus(document["status"]),
        depends=Dependencies.model_validate(document["spec"].get("depends") or {}),
        waiting_on=tuple(document["waiting_on"]),
    )
    return typed.checked(found)
