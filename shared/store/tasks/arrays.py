"""Queries and updates of arrays: their parents, and all children of one at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pymongo import errors as driver_errors

from shared.lifecycle import ACTIVE, ENDED, PLACED, Intent, IntentResult, TaskStatus
from shared.models.array import ArrayResult, ChildCounts
from shared.models.task import Purge, Task, range_name
from shared.rules import arrays
from shared.store import amounts, connection, indexes, reading
from shared.store.indexes import ARRAYS, PARENTS
from shared.store.tasks import intents

MOST_KILLED = 1000  #: most ranges of indices that are killed without the rest


class ArrayStore:
    """Arrays in the collection `tasks`."""

    def __init__(self, database: connection.Database) -> None:
        self._tasks = database["tasks"]

    # --- parents ------------------------------------------------------------------------

    @connection.translated
    async def covering(self, task_id: int, *, session: Any = None) -> Task | None:
        """Return the parent whose children's ids include `task_id`, or None."""
        query = {"array.first_id": {"$lte": task_id}, **ARRAYS}
        document = await self._tasks.find_one(query, sort=[("array.first_id", -1)], session=session)
        parent = reading.one(Task.model_validate, document)
        return parent if parent and arrays.array_of(parent).has(task_id) and parent.purge is not Purge.ALL else None

    @connection.translated
    async def open(self) -> list[Task]:
        """Return all active parents."""
        query = {"$and": [PARENTS, indexes.active(ACTIVE)]}
        return await reading.each(Task.model_validate, self._tasks.find(query).hint("open_arrays"))

    @connection.translated
    async def open_of(self, ids: Collection[int]) -> list[Task]:
        """Return the active parents among `ids`."""
        query = {"_id": {"$in": list(ids)}, **PARENTS, "status": {"$in": sorted(ACTIVE)}}
        return await reading.each(Task.model_validate, self._tasks.find(query))

    @connection.translated
    async def count_unmade(self, user: str | None, *, session: Any = None) -> tuple[int, int]:
        """Return the number of active parents and of their children that are not stored yet, of one user or (None) of all."""
        query: dict[str, Any] = {"$and": [PARENTS, indexes.active(ACTIVE)]}
        if user is not None:
            query["user.id"] = {"$eq": user}
        numbers = {"$and": [{"$isNumber": "$array.count"}, {"$isNumber": "$array.made"}]}
        left = {"$cond": [numbers, {"$subtract": ["$array.count", "$array.made"]}, 0]}
        pipeline: list[dict[str, Any]] = [
            {"$match": query},
            {"$group": {"_id": None, "parents": {"$sum": 1}, "unmade": {"$sum": left}}},
        ]
        async for row in self._tasks.aggregate(pipeline, session=session):
            return int(row["parents"]), int(row["unmade"])
        return 0, 0

    @connection.translated
    async def set_limit(self, task_id: int, limit: int | None) -> bool:
        """Set how many children may hold resources at a time. Return False if the array is over."""
        return await self._set(task_id, {"array.max_concurrent": limit})

    @connection.translated
    async def note(self, task_id: int, *, over: int, started_at: float | None) -> None:
        """Record the progress of the children."""
        await self._set(task_id, {"array.over": over, "started_at": started_at})

    @connection.translated
    async def kill_part(
        self, task_id: int, ranges: Sequence[tuple[int, int]], *, at: float, by: str | None = None
    ) -> Task | None:
        """
        Request a kill for the children with these indices, stored or not. Return the parent, or None if it is over or holds
        too many ranges.
        """
        query = {"_id": task_id, "status": {"$in": sorted(ACTIVE)}, f"array.killed.{MOST_KILLED}": {"$exists": False}}
        update: dict[str, Any] = {"$addToSet": {"array.killed": {"$each": [list(one) for one in ranges]}}}
        if by is not None:
            update["$set"] = {f"array.killed_by.{range_name(*one)}": by for one in ranges}
        document = await self._tasks.find_one_and_update(query, update, return_document=True)
        if document is None:
            return None
        parent = Task.model_validate(document)
        await self.ask_children(task_id, Intent.KILL, at=at, ranges=ranges, by=by)
        return parent

    async def _set(self, task_id: int, fields: Mapping[str, Any]) -> bool:
        query = {"_id": task_id, **PARENTS, "status": {"$in": sorted(ACTIVE)}}
        result = await self._tasks.update_one(query, {"$set": dict(fields)})
        return result.matched_count == 1

    # --- making children ----------------------------------------------------------------

    @connection.translated
    async def make(self, children: Sequence[dict[str, Any]]) -> list[int]:
        """Store children. Return the ids that an earlier try stored already."""
        try:
            await self._tasks.insert_many(children, ordered=False)
        except driver_errors.BulkWriteError as error:
            failed = error.details["writeErrors"]
            if any(item.get("code") != 11000 for item in failed) or error.details["writeConcernErrors"]:
                raise
            return [children[item["index"]]["_id"] for item in failed]
        return []

    @connection.translated
    async def advance(self, task_id: int, *, old: int, new: int) -> bool:
        """
        Record that the first `new` children are stored. Return False if another process wrote meanwhile or the array is
        over.
        """
        query = {"_id": task_id, "array.made": old, "status": TaskStatus.PENDING}
        result = await self._tasks.update_one(query, {"$set": {"array.made": new}})
        return result.matched_count == 1

    # --- all children at once -----------------------------------------------------------

    @connection.translated
    async def ask_children(
        self,
        parent: int,
        intent: Intent,
        *,
        at: float,
        statuses: Collection[TaskStatus] = ACTIVE,
        ranges: Sequence[tuple[int, int]] | None = None,
        by: str | None = None,
    ) -> int:
        """
        Write the intent of the user `by` to all children in `statuses`, or to those with indices in `ranges`, in one
        statement. Children with the same or a stronger intent stay unchanged. Return the number written.
        """
        query: dict[str, Any] = {
            "member.parent": parent,
            "status": {"$in": sorted(statuses)},
            "intent": {"$nin": [intent, *intents.above(intent)]},
        }
        if ranges is not None:
            query["$or"] = [{"member.index": {"$gte": first, "$lte": last}} for first, last in ranges]
        if intent is Intent.SUSPEND:
            query["remark"] = {"$nin": [IntentResult.SUSPENDED, IntentResult.SUSPEND_REJECTED]}
        if intent is Intent.RESUME:
            query["$and"] = [{"$or": [{"remark": IntentResult.SUSPENDED}, {"intent": Intent.SUSPEND}]}]
        result = await self._tasks.update_many(query, [{"$set": intents.written(intent, at, by)}])
        return int(result.modified_count)

    @connection.translated
    async def child_counts(self, parents: Collection[int]) -> dict[int, ChildCounts]:
        """Return the counts of stored children by parent; read from the index alone."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"member.parent": {"$in": list(parents)}}},
            {"$group": {"_id": {"parent": "$member.parent", "status": "$status"}, "tasks": {"$sum": 1}}},
        ]
        counted: dict[int, dict[str, int]] = {parent: {} for parent in parents}
        async for row in self._tasks.aggregate(pipeline, hint="by_parent"):
            if isinstance(status := row["_id"].get("status"), str) and row["_id"]["parent"] in counted:
                counted[row["_id"]["parent"]][status] = row["tasks"]
        return {parent: _child_counts(statuses) for parent, statuses in counted.items()}

    @connection.translated
    async def has_active(self, parent: int) -> bool:
        """Return whether any child is active."""
        query = {"member.parent": parent, "status": {"$in": sorted(ACTIVE)}}
        return await self._tasks.find_one(query, {"_id": 1}) is not None

    @connection.translated
    async def started_at(self, parent: int) -> float | None:
        """Return when the first child began to run."""
        query = {"member.parent": parent, "started_at": {"$type": "number"}}
        document = await self._tasks.find_one(query, {"started_at": 1}, sort=[("started_at", 1)])
        return float(document["started_at"]) if document else None

    @connection.translated
    async def result(self, parent: int, *, named: int) -> ArrayResult:
        """Return how the children ended, with the indices of at most `named` failed ones."""
        query = {"member.parent": parent}
        failed = {**query, "exit_code": {"$ne": 0}}
        started_at, ended_at = (
            {"$cond": [{"$gt": [amounts.amount(field), 0]}, field, None]} for field in ("$started_at", "$ended_at")
        )
        sums = {
            "tasks": {"$sum": 1},
            "succeeded": {"$sum": {"$cond": [{"$eq": ["$exit_code", 0]}, 1, 0]}},
            "started": {"$min": started_at},
            "ended": {"$max": ended_at},
        }
        pipeline: list[dict[str, Any]] = [{"$match": query}, {"$group": {"_id": None, **sums}}]
        rows = [row async for row in self._tasks.aggregate(pipeline)]
        total: dict[str, Any] = rows[0] if rows else {"tasks": 0, "succeeded": 0, "started": None, "ended": None}
        cursor = self._tasks.find(failed, {"member.index": 1}).sort("_id", 1).limit(named)
        return ArrayResult(
            started_at=total["started"],
            ended_at=total["ended"],
            succeeded=total["succeeded"],
            failures=total["tasks"] - total["succeeded"],
            failed=[index for (index,) in await reading.each(reading.numbers("member.index"), cursor)],
        )

    @connection.translated
    async def children_over(self, parent: int) -> list[tuple[int, int]]:
        """Return id and attempt of the children that are over and not archived."""
        query = {"member.parent": parent, "status": TaskStatus.OVER}
        return await reading.each(reading.numbers("_id", "attempt"), self._tasks.find(query, {"attempt": 1}))

    @connection.translated
    async def set_dynamic_of_children(self, parent: int, dynamic: Mapping[str, str]) -> None:
        """Change the dynamic requirements of all active children."""
        query = {"member.parent": parent, "status": {"$in": sorted(ACTIVE)}}
        await self._tasks.update_many(
            query, {"$set": {f"spec.dynamic.{name}": value for name, value in dynamic.items()}}
        )

    @connection.translated
    async def delete_children(self, parent: int) -> None:
        """Hide all children of an ended array; the watcher removes records and files."""
        query = {"member.parent": parent, "status": {"$in": sorted(ENDED)}}
        await self._tasks.update_many(query, {"$set": {"purge": Purge.ALL, "share": None}})


def _child_counts(statuses: Mapping[str, int]) -> ChildCounts:
    placed = sum(statuses.get(status, 0) for status in PLACED)
    over = sum(statuses.get(status, 0) for status in ENDED)
    return ChildCounts(waiting=sum(statuses.values()) - placed - over, placed=placed, over=over)
