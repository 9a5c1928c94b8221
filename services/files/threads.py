"""Run file system calls in threads, one short step at a time: no thread waits for a client."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_LOOKUP_THREADS, _TRANSFER_THREADS = 8, 16


class Threads:
    """Two pools, so that opening and listing do not wait behind reads and writes of a busy disk."""

    def __init__(self) -> None:
        self._lookups = concurrent.futures.ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="look")
        self._transfers = concurrent.futures.ThreadPoolExecutor(_TRANSFER_THREADS, thread_name_prefix="bytes")

    async def lookup(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short call: find, open, list, rename, remove."""
        return await _run(self._lookups, lambda: function(*args, **kwargs))

    async def transfer(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that reads or writes one piece of a file."""
        return await _run(self._transfers, lambda: function(*args, **kwargs))

    def close(self) -> None:
        self._lookups.shutdown(wait=False, cancel_futures=True)
        self._transfers.shutdown(wait=False, cancel_futures=True)


async def _run(pool: concurrent.futures.Executor, function: Callable[[], T]) -> T:
    work = asyncio.get_running_loop().run_in_executor(pool, function)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # A thread cannot be cancelled. The caller must not close the descriptor while the thread may still use it: its
        # number may soon belong to another file.
        await asyncio.wait({work})
        if not work.cancelled():
            work.exception()
        raise
