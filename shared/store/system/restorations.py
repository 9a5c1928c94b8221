"""The collection `restoration`: the restored backup that is still to be held against what the nodes run."""

from __future__ import annotations

from pymongo import WriteConcern

from shared.models.restoration import Restoration
from shared.store import connection

_ID = "restoration"


class RestorationStore:
    """At most one document. While it is there, nothing is placed and no run is given up."""

    def __init__(self, database: connection.Database) -> None:
        majority = WriteConcern(w="majority", j=True)
        self._restorations = database["restoration"].with_options(write_concern=majority)

    @connection.translated
    async def begin(self, *, at: float, of: float) -> None:
        """A backup is loaded, and no node was looked at yet."""
        document = Restoration(at=at, of=of).model_dump()
        await self._restorations.replace_one({"_id": _ID}, document, upsert=True)

    @connection.translated
    async def current(self) -> Restoration | None:
        """None: nothing was restored, or all nodes were looked at."""
        document = await self._restorations.find_one({"_id": _ID})
        return Restoration.model_validate(document) if document else None

    @connection.translated
    async def note_seen(self, node: str) -> None:
        """What runs on a node is adopted."""
        await self._restorations.update_one({"_id": _ID}, {"$addToSet": {"seen": node}})

    @connection.translated
    async def end(self) -> bool:
        """All nodes were looked at. False if somebody else has said so."""
        return (await self._restorations.delete_one({"_id": _ID})).deleted_count == 1
