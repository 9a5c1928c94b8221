"""The collection `usage`: one row per attempt that ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymongo import errors as driver_errors

from shared.models.usage import DayUsage, MonthUsage, Subject, UsageRow
from shared.store import amounts, connection, reading, typed

_SUMS: dict[str, Any] = {
    "cpu": {"$sum": amounts.amount("$cpu")},
    "ram": {"$sum": amounts.amount("$ram")},
    "gpus": {"$sum": amounts.amount("$gpus")},
    "seconds": {"$sum": amounts.amount("$seconds")},
    "core_seconds": {"$sum": {"$multiply": [amounts.amount("$cpu"), amounts.amount("$seconds")]}},
    "gb_seconds": {"$sum": {"$multiply": [amounts.amount("$ram"), amounts.amount("$seconds")]}},
    "gpu_seconds": {"$sum": {"$multiply": [amounts.amount("$gpus"), amounts.amount("$seconds")]}},
}


class UsageStore:
    """Usage rows and their sums."""

    def __init__(self, database: connection.Database) -> None:
        self._usage = database["usage"]

    @connection.translated
    async def add_many(self, rows: Sequence[UsageRow]) -> None:
        """Write rows. Existing ones stay unchanged, so nothing is counted twice."""
        if not rows:
            return
        try:
            await self._usage.insert_many([row.model_dump(by_alias=True) for row in rows], ordered=False)
        except driver_errors.BulkWriteError as error:
            if any(item.get("code") != 11000 for item in error.details["writeErrors"]):
                raise

    @connection.translated
    async def of_task(self, task_id: int) -> list[UsageRow]:
        cursor = self._usage.find({"task": {"$eq": task_id}}).sort("attempt", 1)
        return await reading.each(UsageRow.model_validate, cursor, of="usage")

    @connection.translated
    async def days(self, subject: Subject, name: str, *, since: float) -> list[DayUsage]:
        """Return sums per UTC day of attempts that ended at `since` or later, newest day first, without empty days."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {subject: {"$eq": name}, "ended_at": {"$gte": since}}},
            {"$group": {"_id": "$day", **_SUMS}},
            {"$sort": {"_id": -1}},
        ]
        return await reading.each(_day, self._usage.aggregate(pipeline), of="usage")

    @connection.translated
    async def month(self, subject: Subject, name: str, *, start: float, end: float) -> list[MonthUsage]:
        """Return sums per user and project of attempts that ended from `start` to before `end`, sorted by name."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {subject: {"$eq": name}, "ended_at": {"$gte": start, "$lt": end}}},
            {"$group": {"_id": {"user": "$user", "project": "$project"}, **_SUMS}},
            {"$sort": {"_id.user": 1, "_id.project": 1}},
        ]
        return await reading.each(_month, self._usage.aggregate(pipeline), of="usage")

    @connection.translated
    async def remove_of(self, user: str) -> int:
        """Remove all rows of a deleted user and return their number."""
        result = await self._usage.delete_many({"user": {"$eq": user}})
        return int(result.deleted_count)


def _day(row: dict[str, Any]) -> DayUsage:
    sums = {name: value for name, value in row.items() if name != "_id"}
    return typed.checked(DayUsage(day=row["_id"], **sums))


def _month(row: dict[str, Any]) -> MonthUsage:
    sums = {name: value for name, value in row.items() if name != "_id"}
    return typed.checked(MonthUsage(**row["_id"], **sums))
