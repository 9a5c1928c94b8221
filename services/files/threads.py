"""Do the file system's work off the loop: threads that are held for one short step at a time, never for a client."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_LOOKS, _BYTES = 8, 16


class Threads:
    """Two pools, so that opening and listing do not wait behind reads and writes of a disk that is busy."""

    def __init__(self) -> None:
        self._looks = concurrent.futures.ThreadPoolExecutor(_LOOKS, thread_name_prefix="look")
        self._bytes = concurrent.futures.ThreadPoolExecutor(_BYTES, thread_name_prefix="bytes")

    async def look(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Find, open, list, rename, remove."""
        return await _run(self._looks, lambda: function(*args, **kwargs))

    async def move(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read or write one piece of a file."""
        return await _run(self._bytes, lambda: function(*args, **kwargs))

    def close(self) -> None:
        self._looks.shutdown(wait=False, cancel_futures=True)
        self._bytes.shutdown(wait=False, cancel_futures=True)


async def _run(pool: concurrent.futures.Executor, function: Callable[[], T]) -> T:
    work = asyncio.get_running_loop().run_in_executor(pool, function)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # A thread cannot be cancelled. Whoever closes the descriptor next must not do so under its hands: the number
        # may belong to another file by the time the thread comes to use it.
        await asyncio.wait({work})
        if not work.cancelled():
            work.exception()
        raise
