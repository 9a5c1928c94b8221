"""The collection `maintenance`: the system (`all`) or nodes that take no new tasks."""

from __future__ import annotations

from collections.abc import Sequence

from shared.store import connection


class MaintenanceStore:
    """One document for each node or system in maintenance."""

    def __init__(self, database: connection.Database) -> None:
        self._maintenance = database["maintenance"]

    @connection.translated
    async def put(self, name: str, *, on: bool, by: str, at: float) -> None:
        """Begin or end the maintenance of `all` or a node. Idempotent."""
        if on:
            await self._maintenance.update_one(
                {"_id": {"$eq": name}}, {"$setOnInsert": {"by": by, "at": at}}, upsert=True
            )
        else:
            await self._maintenance.delete_one({"_id": {"$eq": name}})

    @connection.translated
    async def names(self) -> set[str]:
        """Return everything in maintenance."""
        return {document["_id"] async for document in self._maintenance.find({}, {"_id": 1})}

    @connection.translated
    async def are_on(self, names: Sequence[str]) -> list[bool]:
        """Return whether each of `names` is in maintenance."""
        cursor = self._maintenance.find({"_id": {"$in": list(set(names))}}, {"_id": 1})
        found = {document["_id"] async for document in cursor}
        return [name in found for name in names]
