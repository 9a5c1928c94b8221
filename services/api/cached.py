"""Keep a value from the store for a few seconds, for all requests that need it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from shared import clock

T = TypeVar("T")


class Cached(Generic[T]):
    """A value that `read` returns, read again once it is older than `fresh` seconds."""

    def __init__(self, read: Callable[[], Awaitable[T]], *, fresh: float) -> None:
        self._read = read
        self._fresh = fresh
        self._lock = asyncio.Lock()
        self._value: tuple[float, T] | None = None

    async def get(self) -> T:
        """Return the value. Raises what `read` raises."""
        async with self._lock:
            if self._value is None or clock.monotonic() - self._value[0] >= self._fresh:
                value = await self._read()
                self._value = clock.monotonic(), value
            return self._value[1]
