"""How long the server keeps what was at one moment, for as long as a backup is read at it."""

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
async def kept(database: connection.Database, seconds: int) -> AsyncIterator[None]:
    """
    In here the server keeps the past for `seconds` at least, and then for as long as before; a server whose parameters we may
    not change (`readWrite` is not enough) keeps it as long as it is told to. Of two at once, the first that ends sets it back.
    Raises `errors.StoreUnavailable`.
    """
    before = await _raise(database, seconds)
    try:
        yield
    finally:
        if before is not None:
            await _set(database, before)


@connection.translated
async def _raise(database: connection.Database, seconds: int) -> int | None:
    """What it was; None where it stays as it is."""
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
