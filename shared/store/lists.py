"""Lists of tasks: active or over, of one user, one project or all, paged, sorted, searched or streamed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pymongo

from shared.lifecycle import ACTIVE, ENDED
from shared.models.task import Task
from shared.store import connection
from shared.store.views import NOT_DELETED

SEARCH_SECONDS = 3.0  #: a search that takes longer is given up
_STREAM_BATCH = 500


class Order(StrEnum):
    """The words by which clients name what to sort by, and the fields they mean."""

    ID = "id"
    NAME = "name"
    CONTAINER_IMAGE = "container_image"
    USER_ID = "user_id"


_FIELDS = {Order.ID: "_id", Order.NAME: "spec.name", Order.CONTAINER_IMAGE: "spec.image", Order.USER_ID: "user.id"}


@dataclass(frozen=True, slots=True)
class Filter:
    """
    Which tasks. `user` None: of all users; `start` and `end` bound when they began to run, in seconds since the epoch;
    `text` is looked for in name, image and user, as it stands and whatever its case.
    """

    user: str | None
    start: float | None = None
    end: float | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, with how many there are and how many of them match."""

    tasks: list[Task]
    total: int
    filtered: int


class TaskLists:
    """Lists of tasks."""

    def __init__(self, database: connection.Database) -> None:
        self._tasks = database["tasks"]

    @connection.translated
    async def active(self, user: str | None, *, project: str | None = None) -> list[Task]:
        """Tasks that are not over, newest first: of a user or (None) of all, in one project or in any."""
        query: dict[str, Any] = {"status": {"$in": sorted(ACTIVE)}}
        if user is not None:
            query["user.id"] = {"$eq": user}
        if project is not None:
            query["project"] = {"$eq": project}
        return await self._read(self._tasks.find(query).sort("_id", -1))

    @connection.translated
    async def over(self, user: str | None, *, limit: int) -> list[Task]:
        """The last `limit` tasks that are over, the latest end first."""
        cursor = self._tasks.find(_query(Filter(user))).sort("ended_at", -1).limit(limit)
        return await self._read(cursor)

    @connection.translated
    async def page(self, wanted: Filter, *, skip: int, limit: int, order: Order | None, reverse: bool) -> Page:
        """
        One page of those over. Without `order` the latest end comes first, with one the least; `reverse` turns either round.
        Raises `errors.StoreUnavailable` for a search that takes longer than `SEARCH_SECONDS`.
        """
        query = _query(wanted)
        field = _FIELDS[order] if order else "ended_at"
        direction = 1 if order else -1
        with pymongo.timeout(SEARCH_SECONDS):
            cursor = self._tasks.find(query).sort(field, -direction if reverse else direction)
            tasks = await self._read(cursor.skip(skip).limit(limit))
            total = await self._tasks.count_documents(_query(Filter(wanted.user)))
            narrowed = wanted != Filter(wanted.user)
            filtered = await self._tasks.count_documents(query) if narrowed else total
        return Page(tasks, total, filtered)

    async def stream(self, wanted: Filter, *, skip: int, limit: int) -> AsyncIterator[Task]:
        """Those over, the latest end first, one after the other; all of them with `limit` 0."""
        cursor = self._tasks.find(_query(wanted)).sort("ended_at", -1).skip(skip).limit(limit)
        async for document in cursor.batch_size(_STREAM_BATCH):
            yield Task.model_validate(document)

    @connection.translated
    async def old(self, user: str, *, before: float, tag: str | None) -> list[Task]:
        """The user's tasks that ended before a time, with a tag or (None) with any."""
        query = {**_query(Filter(user)), "ended_at": {"$lt": before}}
        if tag is not None:
            query["spec.tags"] = {"$eq": tag}
        return await self._read(self._tasks.find(query).sort("_id", 1))

    @staticmethod
    async def _read(cursor: Any) -> list[Task]:
        return [Task.model_validate(document) async for document in cursor]


def _query(wanted: Filter) -> dict[str, Any]:
    query: dict[str, Any] = {"status": {"$in": sorted(ENDED)}, **NOT_DELETED}
    if wanted.user is not None:
        query["user.id"] = {"$eq": wanted.user}
    period = {
        **({"$gte": wanted.start} if wanted.start is not None else {}),
        **({"$lte": wanted.end} if wanted.end is not None else {}),
    }
    if period:
        query["started_at"] = period
    if wanted.text:
        # Escaped: mongod matches an expression in one call that nothing interrupts, so a stranger's would hold it.
        match = {"$regex": re.escape(wanted.text), "$options": "i"}
        query["$or"] = [{field: match} for field in ("spec.image", "spec.name", "user.id")]
    return query
