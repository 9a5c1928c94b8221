"""The collection `deletions`: users who are to be deleted, until nothing of them is left."""

from __future__ import annotations

from shared.models.user import Deletion
from shared.store import connection, reading


class DeletionStore:
    """What is to be deleted."""

    def __init__(self, database: connection.Database) -> None:
        self._deletions = database["deletions"]

    @connection.translated
    async def ask(self, deletion: Deletion) -> None:
        """Write the wish; one that stands there already is kept as it is."""
        document = deletion.model_dump(exclude={"id"})
        await self._deletions.update_one({"_id": {"$eq": deletion.id}}, {"$setOnInsert": document}, upsert=True)

    @connection.translated
    async def list(self) -> list[Deletion]:
        """All of them, the oldest first."""
        cursor = self._deletions.find().sort("asked_at", 1)
        return await reading.each(Deletion.model_validate, cursor, of="deletions")

    @connection.translated
    async def done(self, user: str) -> None:
        """Nothing of the user is left."""
        await self._deletions.delete_one({"_id": {"$eq": user}})
