"""The identity of the system, one document of the collection `schema`."""

from __future__ import annotations

from typing import Any

from pymongo import ReadPreference, WriteConcern
from pymongo import errors as driver_errors
from pymongo.read_concern import ReadConcern

from shared import clock
from shared.models import identity
from shared.models.identity import Identity
from shared.store import connection

_ID = "identity"
_CLAIM = "claim"


class IdentityStore:
    """It is made by whoever looks first. `earlier` is what the settings call the system, which is all that old versions had."""

    def __init__(self, database: connection.Database, *, earlier: str) -> None:
        self._database = database
        self._schema = database.get_collection(
            "schema",
            write_concern=WriteConcern(w="majority", j=True),
            # Runs are named by it: one that could still be rolled back must not be read.
            read_concern=ReadConcern("majority"),
            read_preference=ReadPreference.PRIMARY,
        )
        self._earlier = earlier

    @connection.translated
    async def get(self) -> Identity | None:
        """None before the first service or command of a version that has marks."""
        document = await self._schema.find_one({"_id": _ID})
        return Identity.model_validate(document) if document else None

    @connection.translated
    async def ensure(self) -> Identity:
        """The identity; a new one where there is none. Of two that make one at once, both get that of the first."""
        while (found := await self.get()) is None:
            await self._add(await self._new())
        return found

    async def _new(self) -> Identity:
        # In this order: a version that has marks makes one before it takes its first lease, so that a database with leases or
        # tasks and without a mark is one that an earlier version worked with.
        used = [await self._database[name].find_one({}, {"_id": 1}) for name in ("leases", "tasks")]
        earlier = self._earlier if any(used) else None
        return Identity(mark=identity.new_mark(), at=clock.now(), earlier=earlier)

    async def _add(self, new: Identity) -> None:
        document: dict[str, Any] = {"_id": _ID, **new.model_dump()}
        try:
            await self._schema.insert_one(document)
        except driver_errors.DuplicateKeyError:
            return  # somebody else was faster

    @connection.translated
    async def put(self, new: Identity) -> None:
        """Take another identity. For a database that nobody works with."""
        await self._schema.replace_one({"_id": _ID}, new.model_dump(), upsert=True)

    async def renew(self) -> Identity:
        """Give a copied database a mark of its own. What its original runs is none of its business from then on."""
        before = await self.get()
        new = Identity(mark=identity.new_mark(), at=clock.now(), copy_of=before.mark if before else None)
        await self.put(new)
        return new

    @connection.translated
    async def note_shared_dir(self) -> None:
        """The mark stands in a `shared_dir`."""
        await self._schema.update_one({"_id": _ID}, {"$set": {"has_shared_dir": True}})

    @connection.translated
    async def words(self) -> list[str]:
        """The last two words of whoever leads, see `shared.system.claims`."""
        document = await self._schema.find_one({"_id": _CLAIM})
        return list(document["words"]) if document else []

    @connection.translated
    async def add_word(self, word: str) -> None:
        update = {"$push": {"words": {"$each": [word], "$slice": -2}}}
        await self._schema.update_one({"_id": _CLAIM}, update, upsert=True)
