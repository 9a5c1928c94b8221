"""Run several writes as one transaction, safe against concurrent writers and crashes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from pymongo import errors as driver_errors

from shared import clock, errors
from shared.store import connection

log = structlog.get_logger(__name__)

T = TypeVar("T")

PATIENCE = 5.0  #: seconds in which a transaction is retried
_PAUSE_FIRST, _PAUSE_MOST = 0.01, 0.2  #: upper bounds of the pauses between retries, seconds
ABANDONED = 2.0  #: seconds without a statement after which a transaction counts as abandoned
_SIMULTANEOUS = 8  #: more would delay each other between their statements
_BUSY = "too many write the same at the same time"


class Transactions:
    """Transactions of one process on one database."""

    def __init__(self, database: connection.Database, *, busy: str = _BUSY) -> None:
        self._client = database.client
        self._busy = busy
        self._room = asyncio.Semaphore(_SIMULTANEOUS)

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """
        Run `work` in a transaction, given as a session, and retry it after conflicts.

        Motor's `with_transaction` commits outside its own retries, so a conflict found at the commit would reach the
        caller. Raises `errors.StoreUnavailable`, with the text of `busy`, if conflicts go on for too long, and whatever
        `work` raises.
        """
        began = looked_at = clock.monotonic()
        pause = _PAUSE_FIRST
        async with await self._client.start_session() as session:
            while True:
                try:
                    async with self._room, session.start_transaction():
                        return await work(session)
                except driver_errors.PyMongoError as error:
                    if not error.has_error_label("TransientTransactionError"):
                        raise
                    if clock.monotonic() > began + PATIENCE:
                        raise errors.StoreUnavailable(self._busy) from error
                if clock.monotonic() > looked_at + ABANDONED / 2:
                    await self._end_abandoned()
                    looked_at = clock.monotonic()
                await asyncio.sleep(random.uniform(0, pause))
                pause = min(pause * 1.5, _PAUSE_MOST)

    async def _end_abandoned(self) -> None:
        """
        End transactions of processes that were killed between two statements. MongoDB would keep them, and lock what they
        wrote, for a minute (`transactionLifetimeLimitSeconds`). A process that only slept finds its transaction gone and
        retries.
        """
        pipeline: list[dict[str, Any]] = [
            {"$currentOp": {"allUsers": False, "idleSessions": True}},
            {
                "$match": {
                    "type": "idleSession",
                    "appName": self._client.delegate.options.pool_options.appname,
                    "transaction.timeInactiveMicros": {"$gt": ABANDONED * 1e6},
                }
            },
        ]
        try:
            found = [{"id": operation["lsid"]["id"]} async for operation in self._client.admin.aggregate(pipeline)]
            if found:
                await self._client.admin.command("killSessions", found, codec_options=self._client.codec_options)
                log.warning("transactions.ended", count=len(found))
        except driver_errors.OperationFailure as error:
            # This login may not list transactions: wait for the server's minute.
            log.warning("transactions.not_ended", error=str(error))


async def run(database: connection.Database, work: Callable[[Any], Awaitable[T]], *, busy: str = _BUSY) -> T:
    """Run one transaction, as `Transactions.run`, for occasional callers."""
    return await Transactions(database, busy=busy).run(work)
