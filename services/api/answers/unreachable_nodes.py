"""The nodes that do not answer, read at most once a second for all answers that show tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from shared import clock
from shared.models.node import UnreachableNode
from shared.store.stores import Stores

_FRESH = 1.0  #: seconds


class Silences:
    """What one gateway process knows of them."""

    def __init__(self, stores: Stores, *, grace: float) -> None:
        """`grace`: seconds of silence for which nobody is told."""
        self._stores = stores
        self._grace = grace
        self._lock = asyncio.Lock()
        self._read_at: float | None = None
        self._known: Mapping[str, UnreachableNode] = {}

    async def get(self) -> Mapping[str, UnreachableNode]:
        """By node, those that have been silent for too long. Raises `errors.StoreUnavailable`."""
        async with self._lock:
            if self._read_at is None or clock.monotonic() - self._read_at >= _FRESH:
                found = await self._stores.unreachable_nodes.list()
                self._known = {silence.node: silence for silence in found if silence.seconds >= self._grace}
                self._read_at = clock.monotonic()
            return self._known
