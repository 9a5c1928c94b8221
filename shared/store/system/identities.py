"""The identity of the system, one document of the collection `schema`."""

from __future__ import annotations

from typing import Any

from pymongo import ReadPreference, WriteConcern
from pymongo import errors as driver_errors
from pymongo.read_concern import ReadConcern

from shared import clock
from shared.models.system import identity
from shared.models.system.identity import Identity
from shared.store import connection

_ID = "identity"
_CLAIM = "claim"


class IdentityStore:
    """Reads the identity, and makes it if there is none. `earlier` is the name in the settings, all that old versions had."""

    def __init__(self, database: connection.Database, *, earlier: str) -> None:
        self._database = database
        self._schema = database.get_collection(
            "schema",
            write_concern=WriteConcern(w="majority", j=True),
            # Runs are named by it, so a write that may be rolled back must not be read.
            read_concern=ReadConcern("majority"),
            read_preference=ReadPreference.PRIMARY,
        )
        self._earlier = earlier

    @connection.translated
    async def get(self) -> Identity | None:
        """Return the identity; None before the first service or command of a version with marks."""
        document = await self._schema.find_one({"_id": _ID})
        return Identity.model_validate(document) if document else None

    @connection.translated
    async def ensure(self) -> Identity:
        """Return the identity, making one if there is none. Concurrent callers get the same one."""
        while (found := await self.get()) is None:
            await self._add(await self._new())
        return found

    async def _new(self) -> Identity:
        # A version with marks makes one before it takes its first lease. A database with leases or tasks and no mark was
        # therefore used by an earlier version.
        used = [await self._database[name].find_one({}, {"_id": 1}) for name in ("leases", "tasks")]
        earlier = self._earlier if any(used) else None
        return Identity(mark=identity.new_mark(), at=clock.now(), earlier=earlier)

    async def _add(self, new: Identity) -> None:
        document: dict[str, Any] = {"_id": _ID, **new.model_dump()}
        try:
            await self._schema.insert_one(document)
        except driver_errors.DuplicateKeyError:
            return  # another process was faster

    @connection.translated
    async def put(self, new: Identity) -> None:
        """Replace the identity of a database that is not in use."""
        await self._schema.replace_one({"_id": _ID}, new.model_dump(), upsert=True)

    async def renew(self) -> Identity:
        """Give a copied database its own mark, which separates it from the runs of its original."""
        before = await self.get()
        new = Identity(mark=identity.new_mark(), at=clock.now(), copy_of=before.mark if before else None)
        await self.put(new)
        return new

    @connection.translated
    async def note_shared_dir(self) -> None:
        """Record that the mark is written in a `shared_dir`."""
        await self._schema.update_one({"_id": _ID}, {"$set": {"has_shared_dir": True}})

    @connection.translated
    async def words(self) -> list[str]:
        """Return the last two words of the leader, see `shared.system.claims`."""
        document = await self._schema.find_one({"_id": _CLAIM})
        return list(document["words"]) if document else []

    @connection.translated
    async def add_word(self, word: str) -> None:
        update = {"$push": {"words": {"$each": [word], "$slice": -2}}}
        await self._schema.update_one({"_id": _CLAIM}, update, upsert=True)
