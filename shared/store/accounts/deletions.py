"""The collection `deletions`: pending deletions of users."""

from __future__ import annotations

from shared.models.user import Deletion
from shared.store import connection, reading


class DeletionStore:
    """Users that are being deleted."""

    def __init__(self, database: connection.Database) -> None:
        self._deletions = database["deletions"]

    @connection.translated
    async def ask(self, deletion: Deletion) -> None:
        """Store a deletion; an existing one of the same user stays unchanged."""
        document = deletion.model_dump(exclude={"id"})
        await self._deletions.update_one({"_id": {"$eq": deletion.id}}, {"$setOnInsert": document}, upsert=True)

    @connection.translated
    async def list(self) -> list[Deletion]:
        """Return all deletions, oldest first."""
        cursor = self._deletions.find().sort("asked_at", 1)
        return await reading.each(Deletion.model_validate, cursor, of="deletions")

    @connection.translated
    async def done(self, user: str) -> None:
        """Remove the deletion of a user of whom nothing is left."""
        await self._deletions.delete_one({"_id": {"$eq": user}})
