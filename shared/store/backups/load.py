"""Load a backup into a database that nobody uses."""

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

_CHUNK = 1000  #: documents per write
_OWN = frozenset({"schema"})  #: exists in every database that a service was started on


def verify(reader: archive.Reader, progress: dump.Progress) -> dict[str, int]:
    """Read a backup to its end and return the number of documents per collection. Raises `errors.BackupUnusable`."""
    if reader.header.schema > migrations.VERSION + 1:
        raise errors.SchemaTooNew(reader.header.schema, migrations.VERSION)
    for batch in reader.batches():
        progress(batch.collection, reader.sums[batch.collection].documents)
    return {name: found.documents for name, found in sorted(reader.sums.items())}


@connection.translated
async def users_of(database: connection.Database, appname: str) -> list[str]:
    """Return the origins of other connections to the database: services and other commands of this installation."""
    pipeline: list[dict[str, Any]] = [
        {"$currentOp": {"allUsers": False, "idleConnections": True}},
        {"$match": {"appName": appname}},
        {"$group": {"_id": "$client"}},
    ]
    return sorted([found["_id"] async for found in database.client.admin.aggregate(pipeline)])


@connection.translated
async def contents(database: connection.Database) -> dict[str, int]:
    """Return the number of documents per collection that a backup would replace; none after an interrupted load."""
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
    Replace the contents of the database by those of the backup.

    Meanwhile, services that start wait; an interrupted load must be repeated. The next task's id is above all known ones
    and `least_number` by `skip`: tasks created after the backup have ids too.
    """
    state = database["schema"].with_options(write_concern=WriteConcern(w="majority", j=True))
    at = clock.now()
    note = {"at": at, "of": reader.header.at}
    await state.update_one({"_id": schema.LOADING}, {"$set": note}, upsert=True)
    for name in await database.list_collection_names():
        if name not in _OWN and not name.startswith("system."):
            await database.drop_collection(name)
    await state.delete_many({"_id": {"$ne": schema.LOADING}})
    # The journal is written in order, so the last write, which is acknowledged, follows all of these.
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
    """Raise `errors.BackupFailed` if another process wrote meanwhile, as a gateway that was started would."""
    for name, total in reader.sums.items():
        filter_ = {"_id": {"$ne": schema.LOADING}} if name in _OWN else {}
        if (found := await database[name].count_documents(filter_)) != total.documents:
            raise errors.BackupFailed(
                f"{name} has {found} documents instead of {total.documents}: another process writes there. "
                "Stop all services and restore again"
            )
