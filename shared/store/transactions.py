"""Transactions that meet each other, begun again until one of them has its way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pymongo import errors as driver_errors

from shared import clock, errors
from shared.store import connection

T = TypeVar("T")

PATIENCE = 5.0  #: seconds in which a transaction is begun again
_PAUSE_FIRST, _PAUSE_MOST = 0.01, 0.2  #: seconds before that, at most


async def run(database: connection.Database, work: Callable[[Any], Awaitable[T]], *, busy: str) -> T:
    """
    Do `work` in a transaction, which it gets as a session. Not by Motor's `with_transaction`: that one commits outside its
    own retries, and a conflict found at the commit would reach the caller.

    Raises `errors.StoreUnavailable`, in the words of `busy`, where others are always faster.
    """
    deadline, pause = clock.monotonic() + PATIENCE, _PAUSE_FIRST
    async with await database.client.start_session() as session:
        while True:
            try:
                async with session.start_transaction():
                    return await work(session)
            except driver_errors.PyMongoError as error:
                if not error.has_error_label("TransientTransactionError"):
                    raise
                if clock.monotonic() > deadline:
                    raise errors.StoreUnavailable(busy) from error
            await asyncio.sleep(random.uniform(0, pause))
            pause = min(pause * 1.5, _PAUSE_MOST)


async def run(database: connection.Database, work: Callable[[Any], Awaitable[T]], *, busy: str = _BUSY) -> T:
    """`Transactions.run`, for who does so now and then."""
    return await Transactions(database, busy=busy).run(work)
