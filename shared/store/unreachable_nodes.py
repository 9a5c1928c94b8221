"""The collection `silences`: unreachable nodes, since when, and how often they were tried."""

from __future__ import annotations

from typing import Any

from pymongo import ReturnDocument, WriteConcern

from shared.models.node import UnreachableNode
from shared.store import connection, reading, typed

_NOW = {"$divide": [{"$toLong": "$$NOW"}, 1000]}  #: the server's clock, in seconds since the epoch


class UnreachableNodeStore:
    """
    The documents outlive watchers: a new one continues the count. Only the time between two failed tries counts, each up to
    a bound, so a watcher that was stopped for an hour, or a clock that jumps, adds no hour.
    """

    def __init__(self, database: connection.Database) -> None:
        majority = WriteConcern(w="majority", j=False)
        self._nodes = database["silences"].with_options(write_concern=majority)

    @connection.translated
    async def note(self, node: str, reason: str, *, unheard: float, gap: float) -> UnreachableNode:
        """
        Record a failed try. `unheard` is the seconds since this watcher last heard of the node, used for the first one.
        More than `gap` seconds between two tries count as a gap in which nobody tried.
        """
        # A malformed document, such as one written by hand, counts as a first try.
        is_valid = {"$and": [{"$isNumber": f"${name}"} for name in ("at", "since", "seconds", "tries")]}
        first = {"$not": [is_valid]}
        passed = {"$cond": [is_valid, {"$subtract": [_NOW, "$at"]}, 0]}
        counted = {"$max": [0, {"$min": [passed, gap]}]}
        # One stage: every expression sees the document as it was before the update.
        update = {
            "since": {"$cond": [first, {"$subtract": [_NOW, unheard]}, "$since"]},
            "at": _NOW,
            "seconds": {"$cond": [first, min(unheard, gap), {"$add": ["$seconds", counted]}]},
            "tries": {"$cond": [{"$or": [first, {"$gt": [passed, gap]}]}, 1, {"$add": ["$tries", 1]}]},
            "reason": {"$literal": reason},
        }
        document = await self._nodes.find_one_and_update(
            {"_id": node}, [{"$set": update}], upsert=True, return_document=ReturnDocument.AFTER
        )
        return _unreachable_node(document)

    @connection.translated
    async def end(self, node: str) -> None:
        """Record that the node answered."""
        await self._nodes.delete_one({"_id": node})

    @connection.translated
    async def list(self) -> list[UnreachableNode]:
        return await reading.each(_unreachable_node, self._nodes.find(), of="silences")


def _unreachable_node(document: dict[str, Any]) -> UnreachableNode:
    found = UnreachableNode(
        node=document["_id"],
        since=document["since"],
        at=document["at"],
        seconds=document["seconds"],
        tries=document["tries"],
        reason=document["reason"],
    )
    return typed.checked(found)
