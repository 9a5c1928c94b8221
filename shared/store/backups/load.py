"""Load a backup into a database that nobody works with."""

from __future__ import annotations

from typing import Any

import structlog
from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern

from shared import clock, errors
from shared.store import connection
from shared.store.backups import archive, dump
from shared.store.system import migrations, schema
from shared.store.system.restorations import RestorationStore
from shared.store.tasks.tasks import TaskStore

log = structlog.get_logger(__name__)

_CHUNK = 1000  #: documents of one write
_OWN = frozenset({"schema"})  #: there in every database that a service was started on


def verify(reader: archive.Reader, progress: dump.Progress) -> dict[str, int]:
    """Read a backup to its end, and return how many documents it has of what. Raises `errors.BackupUnusable`."""
    if reader.header.schema > migrations.VERSION + 1:
        raise errors.SchemaTooNew(reader.header.schema, migrations.VERSION)
    for batch in reader.batches():
        progress(batch.collection, reader.sums[batch.collection].documents)
    return {name: found.documents for name, found in sorted(reader.sums.items())}


@connection.translated
async def users_of(database: connection.Database, appname: str) -> list[str]:
    """Where from processes of this installation are connected, besides our own: services, and other commands."""
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": False, "idleConnections": True}},
        {"$match": {"appName": appname}},
        {"$group": {"_id": "$client"}},
    ]
    return sorted([found["_id"] async for found in database.client.admin.aggregate(pipeline)])


@connection.translated
async def contents(database: connection.Database) -> dict[str, int]:
    """What is in the database that a backup would have to make room for; nothing after a load that was interrupted."""
    if await database["schema"].find_one({"_id": schema.LOADING}):
        return {}
    names = await database.list_collection_names()
    found = {name: await database[name].estimated_document_count() for name in sorted(names)}
    return {name: count for name, count in found.items() if count and name not in dump.PASSING | _OWN}


@connection.translated
async def load(
    database: connection.Database, reader: archive.Reader, progress: dump.Progress, *, least_number: int, skip: int
) -> None:
    """
    Make the database what the backup says, whatever was in it. While this is under way, services that start wait, and after an
    interruption it is to be done again. The next task gets a number that is higher by `skip` than all that are known and
    `least_number`: those after the backup have numbers, too.
    """
    state = database["schema"].with_options(write_concern=WriteConcern(w="majority", j=True))
    at = clock.now()
    note = {"at": at, "of": reader.header.at}
    await state.update_one({"_id": schema.LOADING}, {"$set": note}, upsert=True)
    for name in await database.list_collection_names():
        if name not in _OWN and not name.startswith("system."):
            await database.drop_collection(name)
    await state.delete_many({"_id": {"$ne": schema.LOADING}})
    # The journal is written in order: the last write, which is waited for, comes after all of these.
    quick = WriteConcern(w=1, j=False)
    for batch in reader.batches():
        collection = database.get_collection(batch.collection, write_concern=quick)
        documents: list[Any] = [RawBSONDocument(found) for found in archive.split(batch.data)]
        for first in range(0, len(documents), _CHUNK):
            await collection.insert_many(documents[first : first + _CHUNK], ordered=False)
        progress(batch.collection, reader.sums[batch.collection].documents)
    await _check(database, reader)
    await TaskStore(database).skip_ids(least_number, skip=skip)
    await RestorationStore(database).begin(at=at, of=reader.header.at)
    await state.delete_one({"_id": schema.LOADING})


async def _check(database: connection.Database, reader: archive.Reader) -> None:
    """Nobody else wrote meanwhile: a gateway that was started would have. Raises `errors.BackupFailed`."""
    for name, said in reader.sums.items():
        filter_ = {"_id": {"$ne": schema.LOADING}} if name in _OWN else {}
        if (found := await database[name].count_documents(filter_)) != said.documents:
            raise errors.BackupFailed(
                f"{name} has {found} documents instead of {said.documents}: somebody else writes there. "
                "Stop all services and restore again"
            )
