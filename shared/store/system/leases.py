"""Leases in the collection `leases`, on the clock of the MongoDB server: who may act, until when."""

from __future__ import annotations

import pymongo
from pymongo import ReturnDocument, WriteConcern
from pymongo import errors as driver_errors

from shared.clock import Clock
from shared.models.lease import Lease
from shared.store import connection

MARGIN = 0.2  #: fraction of the lease time, at its end, in which its holder no longer trusts it


class LeaseStore:
    """
    Leases save work; they do not give safety: every write is a compare-and-set of its own. Times are taken from the server
    (`$$NOW`), so the clocks of the hosts that compete need not agree.
    """

    def __init__(self, database: connection.Database, clock: Clock) -> None:
        majority = WriteConcern(w="majority", j=False)
        self._leases = database["leases"].with_options(write_concern=majority)
        self._clock = clock

    @connection.translated
    async def acquire(self, name: str, holder: str, *, seconds: float, url: str | None = None) -> Lease | None:
        """
        Take a lease that is free, or renew one's own. None while somebody else holds it. `url` is where the holder can
        be asked things.
        """
        asked_at = self._clock()
        same = {"$eq": ["$holder", holder]}
        # What is no time, because somebody wrote it by hand, ends never, and would shut everybody out.
        ended = {"$or": [{"$ne": [{"$type": "$expires_at"}, "date"]}, {"$lt": ["$expires_at", "$$NOW"]}]}
        free = {"$or": [same, ended]}
        epoch = {"$convert": {"input": "$epoch", "to": "long", "onError": 0, "onNull": 0}}
        until_then = {"$add": ["$$NOW", round(seconds * 1000)]}
        # One stage: every expression sees the document as it was before the update.
        update = {
            "epoch": {"$cond": [same, epoch, {"$add": [epoch, {"$cond": [free, 1, 0]}]}]},
            "holder": {"$cond": [free, holder, "$holder"]},
            "expires_at": {"$cond": [free, until_then, "$expires_at"]},
            "url": {"$cond": [free, url, "$url"]},
        }
        try:
            document = await self._leases.find_one_and_update(
                {"_id": name}, [{"$set": update}], upsert=True, return_document=ReturnDocument.AFTER
            )
        except driver_errors.DuplicateKeyError:
            return None  # somebody else made it at the same moment
        if document["holder"] != holder:
            return None
        # Counted from before the question: the answer may have been slow, and the server counted from in between.
        until = asked_at + seconds * (1 - MARGIN)
        return Lease(name, holder, int(document["epoch"]), until)

    @connection.translated
    async def url_of(self, name: str) -> str | None:
        """Where the holder of a lease can be asked things; None where nobody holds it."""
        query = {"_id": name, "$expr": {"$gte": ["$expires_at", "$$NOW"]}, "holder": {"$ne": None}}
        document = await self._leases.find_one(query, {"url": 1})
        return document.get("url") if document else None

    @connection.translated
    async def release(self, lease: Lease) -> None:
        """Give a lease back, so that the next holder need not wait for its end."""
        with pymongo.timeout(connection.CLOSE_TIMEOUT):
            await self._leases.update_one(
                {"_id": lease.name, "holder": lease.holder, "epoch": lease.epoch},
                [{"$set": {"holder": None, "expires_at": {"$subtract": ["$$NOW", 1]}}}],
            )
