"""Who may act, until when: leases in the collection `leases`, on the clock of the MongoDB server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymongo import ReturnDocument, WriteConcern
from pymongo import errors as driver_errors

from shared.clock import Clock
from shared.store import connection

MARGIN = 0.2  #: the part of a lease's time before its end in which its holder no longer trusts it


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that is held. `until` is on our monotonic clock; `epoch` grows with each change of holder."""

    name: str
    holder: str
    epoch: int
    until: float


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
    async def acquire(self, name: str, holder: str, *, seconds: float) -> Lease | None:
        """Take a lease that is free, or renew one's own. None while somebody else holds it."""
        asked_at = self._clock()
        milliseconds = round(seconds * 1000)
        same = {"$eq": ["$holder", holder]}
        update: list[dict[str, Any]] = [
            {
                "$set": {
                    "epoch": {"$cond": [same, "$epoch", {"$add": [{"$ifNull": ["$epoch", 0]}, 1]}]},
                    "holder": holder,
                    "expires_at": {"$add": ["$$NOW", milliseconds]},
                }
            }
        ]
        free = {"$or": [same, {"$lt": [{"$ifNull": ["$expires_at", "$$NOW"]}, "$$NOW"]}]}
        try:
            document = await self._leases.find_one_and_update(
                {"_id": name, "$expr": free}, update, upsert=True, return_document=ReturnDocument.AFTER
            )
        except driver_errors.DuplicateKeyError:
            return None  # it exists and did not match: somebody holds it
        # Counted from before the question: the answer may have been slow, and the server counted from in between.
        until = asked_at + seconds * (1 - MARGIN)
        return Lease(name, holder, int(document["epoch"]), until)

    @connection.translated
    async def release(self, lease: Lease) -> None:
        """Give a lease back, so that the next holder need not wait for its end."""
        await self._leases.update_one(
            {"_id": lease.name, "holder": lease.holder, "epoch": lease.epoch},
            [{"$set": {"holder": None, "expires_at": {"$subtract": ["$$NOW", 1]}}}],
        )
