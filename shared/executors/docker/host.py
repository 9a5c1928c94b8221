"""One engine, and what is known of it."""

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
    """All that the executor keeps about one node. Nothing of it is needed to go on after a restart."""

    def __init__(self, node: settings.Node, config: settings.Settings, owner: types.Owner) -> None:
        self.node = node
        self.owner = owner
        self.root = str(config.shared_dir.absolute())  #: the tasks' directories of our runs lie in it
        self.engine = client.Engine(node, timeout=config.docker_timeout)
        self.images = images.Images(self.engine, pull_timeout=config.pull_timeout)
        self.networks = networks.Networks(self.engine, instance=owner.mark, configured=config.docker_network)
        self.scratch = scratch.Scratch(self.engine, kind=config.tmpstorage, instance=owner.mark)
        self.accounts = accounts.Accounts(self.engine, config.shared_dir)
        #: What the engine has, as it last said; None: it was not asked yet.
        self.capacity: limits.Capacity | None = None
        self._overcommitted: str | None = None
        self.rung = 0  #: of `limits.ULIMITS`, the first that its daemon was not seen to refuse
        self.known = container_ids.Known()
        self.skew = skew.Skew(node.name)
        #: What never changes again: ended containers by their id.
        self.ended: dict[str, types.Observation] = {}
        #: The last sample of a container by its id: when, and the cpu seconds it had used by then.
        self.samples: dict[str, tuple[float, float]] = {}

    async def has(self) -> limits.Capacity | None:
        """What the engine has. It is asked once, and whoever asks it for anything else keeps that up to date."""
        if self.capacity is None:
            try:
                _, info = await self.engine.call("GET", "info")
            except aiodocker.DockerError as error:
                raise errors.NodeUnavailable(self.node.name, client.words(error.message)) from error
            self.capacity = limits.capacity(info)
        return self.capacity

    def tell_of_overcommitment(self) -> None:
        """Say once, in the log, that the node is configured to have more than there is. That is allowed."""
        beyond = limits.overcommitment(self.node.cpus, self.node.memory, self.capacity) if self.capacity else None
        if beyond != self._overcommitted:
            self._overcommitted = beyond
            if beyond:
                log.warning("node.overcommitted", node=self.node.name, configured=beyond)

    def is_reached_as(self, node: settings.Node) -> bool:
        """Whether this is the host that `node` says, if it may have another size or other labels."""
        return _way(self.node) == _way(node)

    def forget_all_but(self, listed: Sequence[observe.Json]) -> None:
        """What is no longer listed is forgotten, so that nothing here can grow for ever."""
        identifiers = {item["Id"] for item in listed}
        self.known.keep(identifiers)
        self.ended = {key: value for key, value in self.ended.items() if key in identifiers}
        self.samples = {key: value for key, value in self.samples.items() if key in identifiers}

    async def sweep(self, listed: Sequence[observe.Json]) -> None:
        """Remove networks and volumes that none of the listed containers has. What cannot be removed now is tried again."""
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
