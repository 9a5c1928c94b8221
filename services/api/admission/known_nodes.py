"""The nodes as they were last seen, read at most every few seconds for all tasks that are sent meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from shared import clock
from shared.models.node import Node
from shared.store.stores import Stores

_FRESH = 5.0  #: seconds


class KnownNodes:
    """Nodes as one gateway process knows them."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._lock = asyncio.Lock()
        self._read_at: float | None = None
        self._known: Sequence[Node] = ()

    async def get(self) -> Sequence[Node]:
        """All nodes. Raises `errors.StoreUnavailable`."""
        if self._is_fresh():
            return self._known
        async with self._lock:
            if not self._is_fresh():
                self._known = await self._stores.nodes.list()
                self._read_at = clock.monotonic()
            return self._known

    def _is_fresh(self) -> bool:
        return self._read_at is not None and clock.monotonic() - self._read_at < _FRESH
