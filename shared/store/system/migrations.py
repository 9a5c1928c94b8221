"""
Migration steps from one schema version to the next.

A step only adds and renames; fields that the previous version reads stay until the version after the next. A step finds
what is left to change and changes a bounded number of documents at a time, so it can be repeated after a crash or run twice
at once. Released steps never change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pymongo
import structlog
from pymongo import UpdateMany

from shared.store import connection

log = structlog.get_logger(__name__)

BATCH = 2000  #: documents per write
BATCH_TIMEOUT = 600.0  #: seconds; documents to change are found without an index

Change = tuple[dict[str, Any], dict[str, Any]]  #: a filter, and the update of what it matches


@dataclass(frozen=True, slots=True)
class Step:
    """A migration to `version`. `run` returns the number of changed documents."""

    version: int
    name: str
    run: Callable[[connection.Database], Awaitable[int]]


async def networks_have_names(database: connection.Database) -> int:
    """Replace the boolean of version 1 in `spec.network` by the network's name. There was only the public network then."""
    changes: list[Change] = [
        ({"spec.network": True}, {"$set": {"spec.network": "public"}}),
        ({"spec.network": False}, {"$set": {"spec.network": None}}),
    ]
    return await _change(database, "tasks", {"spec.network": {"$type": "bool"}}, changes)


STEPS = (Step(2, "networks have names", networks_have_names),)
VERSION = STEPS[-1].version  #: the version that this code writes


def missing(version: int) -> tuple[Step, ...]:
    """Return the steps from `version` to ours."""
    return tuple(step for step in STEPS if step.version > version)


async def _change(database: connection.Database, name: str, left: dict[str, Any], changes: Sequence[Change]) -> int:
    """
    Apply `changes` to the documents that match `left`, in the order of their ids, including documents that arrive
    meanwhile.
    """
    collection, done, last = database[name], 0, None
    while True:
        after: dict[str, Any] = {"_id": {"$gt": last}} if last is not None else {}
        with pymongo.timeout(BATCH_TIMEOUT):
            cursor = collection.find({**left, **after}, {"_id": 1}).sort("_id", 1).limit(BATCH)
            ids = [found["_id"] async for found in cursor]
            if not ids:
                return done
            # Each change repeats its own filter, so a document that was changed meanwhile stays as it is.
            operations = [UpdateMany({"$and": [about, {"_id": {"$in": ids}}]}, update) for about, update in changes]
            await collection.bulk_write(operations, ordered=False)
        done, last = done + len(ids), ids[-1]
        log.info("schema.progress", collection=name, documents=done)
