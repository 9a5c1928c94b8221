"""The collection `restoration`: a restored backup that is not yet compared with the runs on all nodes."""

from __future__ import annotations

from pymongo import WriteConcern

from shared.models.system.restoration import Restoration
from shared.store import connection

_ID = "restoration"


class RestorationStore:
    """Holds at most one document. While it exists, nothing is placed and no run is given up."""

    def __init__(self, database: connection.Database) -> None:
        majority = WriteConcern(w="majority", j=True)
        self._restorations = database["restoration"].with_options(write_concern=majority)

    @connection.translated
    async def begin(self, *, at: float, of: float) -> None:
        """Record that a backup was loaded and no node is compared yet."""
        document = Restoration(at=at, of=of).model_dump()
        await self._restorations.replace_one({"_id": _ID}, document, upsert=True)

    @connection.translated
    async def current(self) -> Restoration | None:
        """Return the open restoration; None if nothing was restored or all nodes are compared."""
        document = await self._restorations.find_one({"_id": _ID})
        return Restoration.model_validate(document) if document else None

    @connection.translated
    async def note_seen(self, node: str) -> None:
        """Record that the runs of a node are adopted."""
        await self._restorations.update_one({"_id": _ID}, {"$addToSet": {"seen": node}})

    @connection.translated
    async def end(self) -> bool:
        """Record that all nodes are compared. Return False if another process did."""
        return (await self._restorations.delete_one({"_id": _ID})).deleted_count == 1
