"""Lengthen the time that the server keeps past states, while a backup is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from pymongo import errors as driver_errors

from shared.store import connection

log = structlog.get_logger(__name__)

PARAMETER = "minSnapshotHistoryWindowInSeconds"
_NOT_ALLOWED = 13  #: server code


@asynccontextmanager
async def lengthened(database: connection.Database, seconds: int) -> AsyncIterator[None]:
    """
    Make the server keep past states for `seconds` at least within this block, and for as long as before afterwards. If we
    may not change its parameters (`readWrite` is not enough), they stay. Of two concurrent backups, the first that ends
    resets it. Raises `errors.StoreUnavailable`.
    """
    before = await _raise(database, seconds)
    try:
        yield
    finally:
        if before is not None:
            await _set(database, before)


@connection.translated
async def _raise(database: connection.Database, seconds: int) -> int | None:
    """Raise the parameter and return its old value; None if it stays unchanged."""
    try:
        found = await database.client.admin.command({"getParameter": 1, PARAMETER: 1})
        before = int(found[PARAMETER])
        if before >= seconds:
            return None
        await _set(database, seconds)
    except driver_errors.OperationFailure as error:
        if error.code != _NOT_ALLOWED:
            raise
        log.info("backup.history_not_changed", reason="the database's user may not")
        return None
    return before


@connection.translated
async def _set(database: connection.Database, seconds: int) -> None:
    await database.client.admin.command({"setParameter": 1, PARAMETER: seconds})
