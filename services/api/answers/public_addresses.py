"""The nodes' addresses for users, read at most every few seconds for all answers that show tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from shared import clock
from shared.executors.types import Feature
from shared.settings import Node, Settings
from shared.store.stores import Stores
from shared.system import hosts

_FRESH = 5.0  #: seconds


class PublicAddresses:
    """What one gateway process knows of them."""

    def __init__(self, settings: Settings, stores: Stores, features: AbstractSet[Feature]) -> None:
        self._settings = settings
        self._stores = stores
        self._has_hosts = Feature.HOSTS in features
        self._lock = asyncio.Lock()
        self._read_at: float | None = None
        self._added: Sequence[Node] = ()

    async def get(self) -> Mapping[str, str]:
        """By node, those that were given one. Raises `errors.StoreUnavailable`."""
        if not self._has_hosts:
            return {}
        if not self._is_fresh():
            async with self._lock:
                if not self._is_fresh():
                    self._added = await self._stores.hosts.list()
                    self._read_at = clock.monotonic()
        # Those of the configuration are looked at each time: they may have been loaded anew.
        nodes = hosts.together(self._settings.docker_nodes, self._added)
        return {node.name: node.public_address for node in nodes if node.public_address is not None}

    def _is_fresh(self) -> bool:
        return self._read_at is not None and clock.monotonic() - self._read_at < _FRESH
