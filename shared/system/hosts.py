"""Keep the executor's nodes in line with the configured and the added hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from shared import errors
from shared.executors.base import Executor
from shared.runtime import lifetime
from shared.settings import Node, Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)


class Hosts:
    """The hosts as one service knows them."""

    def __init__(self, settings: Settings, stores: Stores, executor: Executor) -> None:
        self._settings = settings
        self._stores = stores
        self._executor = executor
        self._known: Sequence[Node] | None = None

    async def read(self) -> None:
        """Read added hosts and pass changes to the executor. Raises `errors.StoreUnavailable`."""
        nodes = together(self._settings.docker_nodes, await self._stores.hosts.list())
        if nodes != self._known:
            if self._known is not None:
                log.info("nodes.changed", nodes=[node.name for node in nodes])
            await self._executor.set_nodes(nodes)
            self._known = nodes

    async def run(self, stop: asyncio.Event) -> None:
        """Read every `poll_seconds`, until `stop`."""
        async for _ in lifetime.every(stop, self._settings.poll_seconds):
            try:
                await self.read()
            except errors.StoreUnavailable as error:
                log.warning("hosts.not_read", error=str(error))


def together(configured: Sequence[Node], added: Sequence[Node]) -> list[Node]:
    """Return all nodes; of two with one name, the configured one."""
    names = {node.name for node in configured}
    return [*configured, *(node for node in added if node.name not in names)]
