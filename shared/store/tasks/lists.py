"""Lists of tasks: active or over, of one user, one project or all; paged, sorted, searched or streamed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pymongo

from shared.lifecycle import ACTIVE, ENDED
from shared.models.task import Task
from shared.models.task_list import Filter, Order, Page
from shared.store import connection, reading
from shared.store.tasks.views import NOT_DELETED

SEARCH_SECONDS = 3.0  #: a longer search is aborted
_STREAM_BATCH = 200
_BETWEEN = "\0"  #: separator that no search text can contain

Sort = Sequence[tuple[str, int]]

Stream = AsyncGenerator[Task, None]  #: raises `errors.StoreUnavailable`


_FIELDS = {Order.ID: "_id", Order.NAME: "spec.name", Order.CONTAINER_IMAGE: "spec.image", Order.USER_ID: "user.id"}


class TaskLists:
    """Queries for lists of tasks."""

    def __init__(self, database: connection.Database) -> None:
        self._tasks = database["tasks"]

    def active(self, user: str | None, *, project: str | None = None) -> Stream:
        """Return active tasks, newest first: of a user or (None) of all, in one project or in any."""
        query: dict[str, Any] = {"status": {"$in": sorted(ACTIVE)}}
        if user is not None:
            query["user.id"] = {"$eq": user}
        if project is not None:
            query["project"] = {"$eq": project}
        # Not by id alone: the server would take the index of ids, find the newest tasks active, and read all others.
        return _streamed(self._tasks.find(query).sort([("submitted_at", -1), ("_id", -1)]))

    def over(self, conditions: Filter, *, skip: int = 0, limit: int) -> Stream:
        """Return ended tasks, latest end first, then by id; all of them with `limit` 0."""
        order = [("ended_at", -1), ("_id", -1)]
        return _streamed(self._tasks.find(_query(conditions)).sort(order).skip(skip).limit(limit))

    @connection.translated
    async def page(self, conditions: Filter, *, skip: int, limit: int, order: Order | None, reverse: bool) -> Page:
        """
        Return one page of ended tasks. Without `order` the latest end comes first, with one the least; `reverse` turns
        either around. Raises `errors.StoreUnavailable` for a search that takes longer than `SEARCH_SECONDS`.
        """
        direction = 1 if (order is None) == reverse else -1
        sort = [(_FIELDS[order] if order else "ended_at", direction)]
        if order is not Order.ID:
            sort.append(("_id", direction))  # a stable order for tasks with equal keys
        read = self._searched if conditions.text else self._paged
        with pymongo.timeout(SEARCH_SECONDS):
            total, (tasks, filtered) = await asyncio.gather(
                self._tasks.count_documents(_query(Filter(conditions.user))), read(conditions, sort, skip, limit)
            )
        return Page(tasks, total, total if filtered is None else filtered)

    async def _paged(self, conditions: Filter, sort: Sort, skip: int, limit: int) -> tuple[list[Task], int | None]:
        """Return the tasks, and how many match; None: all."""
        query = _query(conditions)
        tasks = await self._read(self._tasks.find(query).sort(sort).skip(skip).limit(limit))
        return tasks, None if conditions == Filter(conditions.user) else await self._tasks.count_documents(query)

    async def _searched(self, conditions: Filter, sort: Sort, skip: int, limit: int) -> tuple[list[Task], int | None]:
        # One pass over the index alone: a condition on several fields would make the server read every task of the user,
        # one on a value computed from them does not.
        text = {"$concat": ["$spec.image", _BETWEEN, "$spec.name", _BETWEEN, "$user.id"]}
        # Escaped: mongod matches an expression in one call that nothing interrupts, so a user's own expression could block
        # it.
        match = {"text": {"$regex": re.escape(conditions.text or ""), "$options": "i"}}
        key, direction = sort[0]
        pipeline: list[dict[str, Any]] = [
            {"$match": _query(conditions)},
            {"$project": {"text": text, "key": f"${key}"}},
            {"$match": match},
            {"$project": {"key": 1}},
            {"$sort": {"key": direction, "_id": direction}},
            {"$facet": {"page": [{"$skip": skip}, {"$limit": limit}], "count": [{"$count": "tasks"}]}},
        ]
        (found,) = await self._tasks.aggregate(pipeline, allowDiskUse=True).to_list(1)
        ids = [document["_id"] for document in found["page"]]
        tasks = {task.id: task for task in await self._read(self._tasks.find({"_id": {"$in": ids}}))}
        return [tasks[number] for number in ids if number in tasks], sum(part["tasks"] for part in found["count"])

    @connection.translated
    async def old(self, user: str, *, before: float, tag: str | None) -> list[Task]:
        """Return the user's tasks that ended before a time, with a tag or (None) with any."""
        query = {**_query(Filter(user)), "ended_at": {"$lt": before}}
        if tag is not None:
            query["spec.tags"] = {"$eq": tag}
        return await self._read(self._tasks.find(query).sort("_id", 1))

    @staticmethod
    async def _read(cursor: Any) -> list[Task]:
        return await reading.each(Task.model_validate, cursor)


async def _streamed(cursor: Any) -> Stream:
    """Yield the cursor's tasks, holding few of them in memory."""
    try:
        with connection.translation():
            async for task in reading.one_by_one(Task.model_validate, cursor.batch_size(_STREAM_BATCH)):
                yield task
    finally:
        await cursor.close()


def _query(conditions: Filter) -> dict[str, Any]:
    query: dict[str, Any] = {"status": {"$in": sorted(ENDED)}, **NOT_DELETED}
    if conditions.user is not None:
        query["user.id"] = {"$eq": conditions.user}
    period = {
        **({"$gte": conditions.start} if conditions.start is not None else {}),
        **({"$lte": conditions.end} if conditions.end is not None else {}),
    }
    if period:
        query["started_at"] = period
    return query
