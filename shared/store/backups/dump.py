"""Read all collections as of one moment, while others write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from pymongo import errors as driver_errors

from shared import errors
from shared.store import connection
from shared.store.backups import archive, history

log = structlog.get_logger(__name__)

#: Collections of momentary state, which services rewrite in seconds.
PASSING = frozenset({"leases", "nodes", "verdicts", "silences", "unplaceable", "restoration"})
BATCH = 2000  #: most documents of a batch; the server sends fewer if they are large
_TOO_OLD = 239  #: server code: the moment is older than the server keeps (SnapshotTooOld)

#: Called after each batch with the collection and the number of its documents read so far.
Progress = Callable[[str, int], None]


@connection.translated
async def dump(database: connection.Database, writer: archive.Writer, progress: Progress) -> None:
    """
    Write all collections except momentary ones, each in the order of its ids.

    All are read as of one moment (read concern `snapshot`; the session's first read sets it), majority committed. The
    server keeps past states for `minSnapshotHistoryWindowInSeconds`, 300 by default; see `history.lengthened`. Raises
    `errors.BackupFailed` if that is too short, and `errors.StoreUnavailable`.
    """
    names = sorted(name for name in await database.list_collection_names() if name not in PASSING)
    try:
        async with await database.client.start_session(snapshot=True) as session:
            for name in (name for name in names if not name.startswith("system.")):
                writer.begin(name)
                cursor = database[name].find_raw_batches({}, session=session, batch_size=BATCH).sort("_id", 1)
                read = 0
                async for data in cursor:
                    batch = archive.Batch(name, archive.count(data), data)
                    await asyncio.to_thread(writer.write, batch)
                    read += batch.documents
                    progress(name, read)
    except driver_errors.OperationFailure as error:
        if error.code != _TOO_OLD:
            raise
        raise errors.BackupFailed(
            "it took longer than MongoDB keeps past states: try a longer --time or, if the database's user may not "
            f"change that, a higher {history.PARAMETER} of mongod (MONGO_HISTORY of the Compose deployment)"
        ) from error
