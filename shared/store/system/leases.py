"""The collection `leases`: who may act, until when, on the clock of the MongoDB server."""

from __future__ import annotations

import pymongo
from pymongo import ReturnDocument, WriteConcern
from pymongo import errors as driver_errors

from shared.clock import Clock
from shared.models.system.lease import Lease
from shared.store import connection

MARGIN = 0.2  #: fraction of the lease time, at its end, in which its holder no longer trusts it


class LeaseStore:
    """
    Leases avoid duplicate work; they give no safety: every write is its own compare-and-set. Times are the server's
    (`$$NOW`), so the clocks of competing hosts need not agree.
    """

    def __init__(self, database: connection.Database, clock: Clock) -> None:
        majority = WriteConcern(w="majority", j=False)
        self._leases = database["leases"].with_options(write_concern=majority)
        self._clock = clock

    @connection.translated
    async def acquire(self, name: str, holder: str, *, seconds: float, url: str | None = None) -> Lease | None:
        """
        Take a free lease or renew one's own. Return None while another holder has it. `url` is where the holder answers
        requests.
        """
        asked_at = self._clock()
        same = {"$eq": ["$holder", holder]}
        # A malformed end, such as one written by hand, would never pass and shut everybody out.
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
            return None  # another process created it at the same moment
        if document["holder"] != holder:
            return None
        # Counted from before the request: the answer may have been slow, and the server counted from in between.
        until = asked_at + seconds * (1 - MARGIN)
        return Lease(name, holder, int(document["epoch"]), until)

    @connection.translated
    async def url_of(self, name: str) -> str | None:
        """Return the URL of the holder of a lease; None if nobody holds it."""
        query = {"_id": name, "$expr": {"$gte": ["$expires_at", "$$NOW"]}, "holder": {"$ne": None}}
        document = await self._leases.find_one(query, {"url": 1})
        return document.get("url") if document else None

    @connection.translated
    async def release(self, lease: Lease) -> None:
        """End a lease, so that the next holder need not wait for it."""
        with pymongo.timeout(connection.CLOSE_TIMEOUT):
            await self._leases.update_one(
                {"_id": lease.name, "holder": lease.holder, "epoch": lease.epoch},
                [{"$set": {"holder": None, "expires_at": {"$subtract": ["$$NOW", 1]}}}],
            )
