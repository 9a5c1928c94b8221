"""Queries and updates of all tasks of one user or project."""

from __future__ import annotations

from itertools import islice
from typing import Any

from shared.lifecycle import ACTIVE, ENDED, Intent, TaskStatus
from shared.models.task import Purge
from shared.store import connection
from shared.store.tasks import intents

_CHUNK = 20_000  #: ids in one filter


class OwnedTasks:
    """The tasks of one user or project."""

    def __init__(self, database: connection.Database) -> None:
        self._tasks = database["tasks"]

    @connection.translated
    async def kill_all(self, user: str, *, at: float, tag: str | None = None, by: str | None = None) -> list[int]:
        """
        Write the intent of `by` to kill all active tasks of a user, or those with `tag`, and return their ids, newest
        first. An earlier kill keeps its time and name.
        """
        query: dict[str, Any] = {"user.id": {"$eq": user}, "status": {"$in": sorted(ACTIVE)}}
        if tag is not None:
            query["spec.tags"] = {"$eq": tag}
        ids = [found["_id"] async for found in self._tasks.find(query, {"_id": 1}).sort("_id", -1)]
        remaining = iter(ids)
        while chunk := list(islice(remaining, _CHUNK)):
            fields = intents.written(Intent.KILL, at, by)
            await self._tasks.update_many({**query, "_id": {"$in": chunk}}, [{"$set": fields}])
        return ids

    @connection.translated
    async def count_shares(self, user: str, *, at: float) -> int:
        """Return how many tasks of a user have a share token that is valid at that time."""
        query = {"user.id": {"$eq": user}, "status": {"$ne": TaskStatus.ARCHIVED}, "share.until": {"$gte": at}}
        return int(await self._tasks.count_documents(query))

    @connection.translated
    async def end_shares(self, user: str) -> None:
        """End the share tokens of all tasks of a user."""
        query = {"user.id": {"$eq": user}, "share": {"$ne": None}}
        await self._tasks.update_many(query, {"$set": {"share": None}})

    @connection.translated
    async def count_unfinished(self, user: str) -> int:
        """Return how many tasks of a user are active or not settled."""
        owned = {"user.id": {"$eq": user}}
        active = await self._tasks.count_documents({**owned, "status": {"$in": sorted(ACTIVE)}})
        unsettled = {**owned, "status": {"$in": sorted(ENDED)}, "settled": False}
        return active + await self._tasks.count_documents(unsettled)

    @connection.translated
    async def purge_all(self, user: str) -> int:
        """Mark all ended tasks of a user for removal, record and files, and return how many remain."""
        query = {"user.id": {"$eq": user}, "status": {"$in": sorted(ENDED)}}
        await self._tasks.update_many({**query, "purge": {"$ne": Purge.ALL}}, {"$set": {"purge": Purge.ALL}})
        return await self._tasks.count_documents(query)

    @connection.translated
    async def count_active_in(self, project: str) -> int:
        """Return how many tasks of a project are active."""
        return await self._tasks.count_documents({"project": {"$eq": project}, "status": {"$in": sorted(ACTIVE)}})
