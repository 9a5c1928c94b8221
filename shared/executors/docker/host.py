"""The executor's state for one engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import aiodocker
import structlog

from shared import errors, settings
from shared.executors import types
from shared.executors.docker import client, container_ids, images, networks, observe, scratch, skew
from shared.executors.docker.inside import accounts, limits

log = structlog.get_logger(__name__)


class Host:
    """Everything the executor keeps about one node. A restart loses nothing that matters."""

    def __init__(self, node: settings.Node, config: settings.Settings, owner: types.Owner) -> None:
        self.node = node
        self.owner = owner
        self.root = str(config.shared_dir.absolute())  #: holds the tasks' directories of our runs
        self.engine = client.Engine(node, timeout=config.docker_timeout)
        self.images = images.Images(self.engine, pull_timeout=config.pull_timeout)
        self.networks = networks.Networks(self.engine, instance=owner.mark, configured=config.docker_network)
        self.scratch = scratch.Scratch(self.engine, kind=config.tmpstorage, instance=owner.mark)
        self.accounts = accounts.Accounts(self.engine, config.shared_dir)
        #: The engine's capacity as last reported; None before the first report.
        self.capacity: limits.Capacity | None = None
        self._overcommitted: str | None = None
        self.rung = 0  #: place in `limits.ULIMITS`: the first that its daemon has not refused
        self.known = container_ids.Known()
        self.skew = skew.Skew(node.name)
        #: Ended containers by their id: they never change again.
        self.ended: dict[str, types.Observation] = {}
        #: The last sample of a container by its id: its time, and the cpu seconds used by then.
        self.samples: dict[str, tuple[float, float]] = {}

    async def has(self) -> limits.Capacity | None:
        """Return the engine's capacity. It is requested once; other calls keep it up to date."""
        if self.capacity is None:
            try:
                _, info = await self.engine.call("GET", "info")
            except aiodocker.DockerError as error:
                raise errors.NodeUnavailable(self.node.name, client.words(error.message)) from error
            self.capacity = limits.capacity(info)
        return self.capacity

    def tell_of_overcommitment(self) -> None:
        """Log once that the node is configured to have more than its engine has. That is allowed."""
        beyond = limits.overcommitment(self.node.cpus, self.node.memory, self.capacity) if self.capacity else None
        if beyond != self._overcommitted:
            self._overcommitted = beyond
            if beyond:
                log.warning("node.overcommitted", node=self.node.name, configured=beyond)

    def is_reached_as(self, node: settings.Node) -> bool:
        """Return whether `node` is reached like this host, whatever its size and labels."""
        return _way(self.node) == _way(node)

    def forget_all_but(self, listed: Sequence[observe.Json]) -> None:
        """Forget containers that are no longer listed, so that nothing here grows forever."""
        identifiers = {item["Id"] for item in listed}
        self.known.keep(identifiers)
        self.ended = {key: value for key, value in self.ended.items() if key in identifiers}
        self.samples = {key: value for key, value in self.samples.items() if key in identifiers}

    async def sweep(self, listed: Sequence[observe.Json]) -> None:
        """Remove networks and volumes that no listed container uses. Failures are retried at the next sweep."""
        used = {_network(item) for item in listed}
        for result in await asyncio.gather(self.networks.sweep(used), self.scratch.sweep(), return_exceptions=True):
            if isinstance(result, aiodocker.DockerError | errors.NodeUnavailable):
                log.warning("sweep.failed", node=self.node.name, reason=client.words(str(result)))
            elif isinstance(result, BaseException):
                raise result

    async def close(self) -> None:
        await self.images.close()
        await self.engine.close()


def _way(node: settings.Node) -> tuple[object, ...]:
    return node.name, node.url, node.tls_ca, node.tls_cert, node.tls_key


def _network(item: observe.Json) -> Any:
    return (item.get("HostConfig") or {}).get("NetworkMode")
