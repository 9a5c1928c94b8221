"""
The steps that bring what is stored from one schema version to the next.

A step only adds and renames; what the version before reads stays until the version after the next. It looks for what is still
to be changed and changes that, a bounded number of documents at a time: taken again after a crash in its middle, or by two at
once, it does the rest. Steps are never changed once they were released, only followed by others.
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

BATCH = 2000  #: documents of one write
BATCH_TIMEOUT = 600.0  #: seconds: what is left is looked for without an index

Change = tuple[dict[str, Any], dict[str, Any]]  #: a filter, and the update of what it matches


@dataclass(frozen=True, slots=True)
class Step:
    """`run` makes the database that of `version`, and returns how many documents it changed."""

    version: int
    name: str
    run: Callable[[connection.Database], Awaitable[int]]


async def networks_have_names(database: connection.Database) -> int:
    """
    Tasks of the first version say whether they have a network; which one it is has a name now. None of them had more than the
    public one.
    """
    changes: list[Change] = [
        ({"spec.network": True}, {"$set": {"spec.network": "public"}}),
        ({"spec.network": False}, {"$set": {"spec.network": None}}),
    ]
    return await _change(database, "tasks", {"spec.network": {"$type": "bool"}}, changes)


STEPS = (Step(2, "networks have names", networks_have_names),)
VERSION = STEPS[-1].version  #: of what we write


def missing(version: int) -> tuple[Step, ...]:
    """The steps that lead from `version` to ours."""
    return tuple(step for step in STEPS if step.version > version)


async def _change(database: connection.Database, name: str, left: dict[str, Any], changes: Sequence[Change]) -> int:
    """Make `changes` to the documents that match `left`, in the order of their ids; documents that come meanwhile included."""
    collection, done, last = database[name], 0, None
    while True:
        after: dict[str, Any] = {"_id": {"$gt": last}} if last is not None else {}
        with pymongo.timeout(BATCH_TIMEOUT):
            cursor = collection.find({**left, **after}, {"_id": 1}).sort("_id", 1).limit(BATCH)
            ids = [found["_id"] async for found in cursor]
            if not ids:
                return done
            # Each change says itself what it is about: a document that was changed meanwhile is left as it is.
            operations = [UpdateMany({"$and": [about, {"_id": {"$in": ids}}]}, update) for about, update in changes]
            await collection.bulk_write(operations, ordered=False)
        done, last = done + len(ids), ids[-1]
        log.info("schema.progress", collection=name, documents=done)
