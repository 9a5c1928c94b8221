"""The collection `usage`: one row per attempt that ran."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import errors as driver_errors

from shared.models.usage import UsageRow
from shared.store import connection


class UsageStore:
    """What was used."""

    def __init__(self, database: connection.Database) -> None:
        self._usage = database["usage"]

    @connection.translated
    async def add_many(self, rows: Sequence[UsageRow]) -> None:
        """Write rows; one that is there already stays as it is, so that nothing is counted twice."""
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
        return [UsageRow.model_validate(document) async for document in cursor]
