"""
The collection `outbox`: mails until they are sent or given up.

`due` is the earliest time of the next try. A claim postpones `due` by the longest duration of a try, so a sender that dies
delays a mail no longer than that. All times are the server's (`$$NOW`). Finished mails stay for a week, so that writing one
again does not send it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymongo import ReturnDocument, UpdateOne

from shared.lifecycle import ENDED, TaskStatus
from shared.models.notice import Notice
from shared.models.task import Task
from shared.store import connection, reading

_TRIES = {"$convert": {"input": "$tries", "to": "int", "onError": 0, "onNull": 0}}
KEEP = 7 * 24 * 3600  #: seconds that finished mails are kept


class OutboxStore:
    """Mails, and the tasks that owe some."""

    def __init__(self, database: connection.Database) -> None:
        self._outbox = database["outbox"]
        self._tasks = database["tasks"]

    # --- what is owed -------------------------------------------------------------------

    @connection.translated
    async def owing(self, *, limit: int) -> list[Task]:
        """Return tasks that owe their owner a mail which is not in the outbox yet; of an array, its parent."""
        runs = [
            {"status": TaskStatus.RUNNING},
            {"status": TaskStatus.PENDING, "array": {"$ne": None}, "started_at": {"$ne": None}},
        ]
        news = {"$or": runs, "$expr": {"$lt": ["$told", "$attempt"]}}
        query = {"told": {"$type": "int"}, "$or": [{"status": {"$in": sorted(ENDED)}}, news]}
        return await reading.each(Task.model_validate, self._tasks.find(query).limit(limit))

    @connection.translated
    async def write(self, notices: Sequence[Notice]) -> None:
        """Put mails into the outbox unless they are or were in it."""
        if notices:
            operations = [UpdateOne({"_id": notice.id}, [_written(notice)], upsert=True) for notice in notices]
            await self._outbox.bulk_write(operations, ordered=False)

    @connection.translated
    async def told(self, task: Task, attempt: int | None) -> None:
        """
        Record that all mails of `task` up to the start of this attempt are in the outbox, or (None) all that it will ever
        owe.
        """
        await self._tasks.update_one({"_id": task.id, "told": task.told}, {"$set": {"told": attempt}})

    # --- sending ------------------------------------------------------------------------

    @connection.translated
    async def claim(self, claim: str, *, seconds: float) -> Notice | None:
        """Claim the due mail that waited longest, for `seconds`."""
        query = {"due": {"$type": "date"}, "$expr": {"$lte": ["$due", "$$NOW"]}}
        update = [{"$set": {"due": _in(seconds), "claim": claim, "tries": {"$add": [_TRIES, 1]}}}]
        document = await self._outbox.find_one_and_update(
            query, update, sort=[("due", 1), ("at", 1)], return_document=ReturnDocument.AFTER
        )
        return reading.one(Notice.model_validate, document, of="outbox")

    @connection.translated
    async def done(self, notice: Notice, outcome: str) -> None:
        """Record that a mail was sent or given up."""
        await self._update(notice, {"due": None, "claim": None, "outcome": outcome, "done_at": "$$NOW"})

    @connection.translated
    async def put_off(self, notice: Notice, *, seconds: float, reason: str) -> None:
        """Retry a mail in `seconds`."""
        await self._update(notice, {"due": _in(seconds), "claim": None, "reason": {"$literal": reason}})

    @connection.translated
    async def remove_of(self, user: str) -> None:
        """Remove all mails of a deleted user, sent or not."""
        await self._outbox.delete_many({"user": {"$eq": user}})

    async def _update(self, notice: Notice, fields: dict[str, Any]) -> None:
        await self._outbox.update_one({"_id": notice.id, "claim": notice.claim}, [{"$set": fields}])


def _in(seconds: float) -> dict[str, Any]:
    return {"$add": ["$$NOW", round(seconds * 1000)]}


def _written(notice: Notice) -> dict[str, Any]:
    """Return an update stage that inserts the document and leaves an existing one unchanged."""
    new = {name: {"$literal": value} for name, value in notice.model_dump(exclude={"id"}).items()}
    fields = {**new, "due": "$$NOW", "outcome": None, "done_at": None}
    is_new = {"$eq": [{"$type": "$to"}, "missing"]}
    return {"$set": {name: {"$cond": [is_new, value, f"${name}"]} for name, value in fields.items()}}
