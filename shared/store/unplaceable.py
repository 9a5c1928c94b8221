"""The collection `unplaceable`: shapes that no node could ever take, and since when."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pymongo import UpdateOne, WriteConcern

from shared.store import connection, reading


class UnplaceableStore:
    """
    One document per shape: `since` and `at`, the last time that was found, seconds since the epoch. They outlive the
    scheduler, so that its successor continues the count.
    """

    def __init__(self, database: connection.Database) -> None:
        majority = WriteConcern(w="majority", j=False)
        self._shapes = database["unplaceable"].with_options(write_concern=majority)

    @connection.translated
    async def note(self, shapes: Collection[str], *, now: float, gap: float) -> dict[str, float]:
        """
        Record that no node could take tasks of these shapes, and of no others. Return since when, by shape. The count
        restarts after more than `gap` seconds without a check: a node may have come and gone meanwhile.
        """
        # A malformed document, such as one written by hand, restarts the count too.
        numbers = {"$and": [{"$isNumber": "$since"}, {"$isNumber": "$at"}]}
        recent = {"$and": [{"$gte": ["$at", now - gap]}, {"$lte": ["$since", now]}]}
        update = {"$set": {"since": {"$cond": [{"$and": [numbers, recent]}, "$since", now]}, "at": now}}
        await self._shapes.delete_many({"_id": {"$nin": list(shapes)}})
        if not shapes:
            return {}
        await self._shapes.bulk_write(
            [UpdateOne({"_id": shape}, [update], upsert=True) for shape in shapes], ordered=False
        )
        return dict(await reading.each(_since, self._shapes.find(), of="unplaceable"))


def _since(document: dict[str, Any]) -> tuple[str, float]:
    return str(document["_id"]), float(document["since"])
