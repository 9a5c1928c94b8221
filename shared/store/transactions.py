"""Make several writes one, whoever else writes the same at that moment and whoever died while doing so."""

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

PATIENCE = 5.0  #: seconds in which a transaction is begun again
_PAUSE_FIRST, _PAUSE_MOST = 0.01, 0.2  #: seconds before that, at most
ABANDONED = 2.0  #: seconds without a statement after which nobody is behind a transaction any more
_SIMULTANEOUS = 8  #: more would make each other wait between their statements
_BUSY = "too many write the same at the same time"


class Transactions:
    """Transactions of one process on one database."""

    def __init__(self, database: connection.Database, *, busy: str = _BUSY) -> None:
        self._client = database.client
        self._busy = busy
        self._room = asyncio.Semaphore(_SIMULTANEOUS)

    async def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """
        Do `work` in a transaction, which it gets as a session; where it met another it is done again. Not by Motor's
        `with_transaction`: that one commits outside its own retries, and a conflict found at the commit would reach the caller.

        Raises `errors.StoreUnavailable`, in the words of `busy`, where others are faster for too long, and what `work` raises.
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
        End what a process left open that was killed between two statements: MongoDB would keep it, and what it wrote shut,
        for a minute (`transactionLifetimeLimitSeconds`). A process that only slept finds its transaction gone and begins again.
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
            # A server that does not let us look: the minute passes.
            log.warning("transactions.not_ended", error=str(error))


async def run(database: connection.Database, work: Callable[[Any], Awaitable[T]], *, busy: str = _BUSY) -> T:
    """`Transactions.run`, for who does so now and then."""
    return await Transactions(database, busy=busy).run(work)
