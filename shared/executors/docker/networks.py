"""
The networks of a node that its runs share: made when the first run needs one, removed when no run is left in it.

`public` reaches the world, and its runs do not reach each other. Those of a user or a project reach the world and each other,
by name; bridges of the engine do not reach other bridges.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from typing import Any

import aiodocker
import orjson
import structlog

from shared import errors
from shared.executors import types
from shared.executors.docker import body, client, start_errors

log = structlog.get_logger(__name__)

NETWORK = "godocker.network"
NONE = "none"

SWEEP_TIMEOUT = 5.0  #: seconds
_TRIES = 10
_PAUSE = 0.1  #: seconds between two tries
_BRIDGE = "com.docker.network.bridge"


class Networks:
    """Those of one node. `configured`: the engine's network that stands for `public`; None: one of ours."""

    def __init__(self, engine: client.Engine, *, instance: str, configured: str | None) -> None:
        self._engine = engine
        self._instance = instance
        self._configured = configured
        self._present: set[str] = set()
        self._unused: set[str] = set()
        self._lock = asyncio.Lock()

    def name_of(self, network: str | None) -> str:
        """What the engine calls it."""
        if network is None:
            return NONE
        if network == types.PUBLIC and self._configured is not None:
            return self._configured
        # No instance has a dot in its name: one's networks are never called like another's.
        return f"{self._instance}.{network}"

    async def ensure(self, network: str | None) -> None:
        """Return when the node has the network. Raises `errors.StartFailed` subclasses, `errors.NodeUnavailable`."""
        if network is None or not self._is_ours(network):
            return
        # One at a time: an engine that is asked twice at once reserves addresses twice before it finds that one is enough.
        async with self._lock:
            if network not in self._present:
                await self._find_or_make(network)
                self._present.add(network)

    def was_lost(self, network: str | None, message: str) -> bool:
        """
        Whether a start failed because a network of ours is no longer there: who sweeps cannot know that a container is
        being made for it. Then it is to be made again.
        """
        if network is None or not self._is_ours(network) or not start_errors.is_missing_network(message):
            return False
        self._present.discard(network)
        return True

    async def sweep(self, used: Collection[str]) -> None:
        """
        Remove networks of ours that no container is made for; `used` are those that one is, by the engine's name. They must
        have been seen unused before, so that one is not made anew for every task of a short series.
        """
        unused = {item["Id"]: item for item in await self._ours() if item["Name"] not in used}
        for identifier in unused.keys() & self._unused:
            try:
                # Refused where something is connected.
                await self._engine.call("DELETE", f"networks/{identifier}", timeout=SWEEP_TIMEOUT)
            except aiodocker.DockerError as error:
                if error.status not in (403, 404):
                    raise
            else:
                network = unused.pop(identifier)["Labels"].get(NETWORK, "")
                self._present.discard(network)
                log.info("network.removed", node=self._engine.name, network=network)
        self._unused = set(unused)

    async def _find_or_make(self, network: str) -> None:
        taken = f"the name {self.name_of(network)} is taken on {self._engine.name} by another network"
        problem: errors.StartFailed = errors.StartRefused(taken)
        for _ in range(_TRIES):
            if await self._is_there(network):
                return
            try:
                if await self._make(network):
                    return
            except errors.NodeFull as error:
                # Or another scheduler is making the same one at this moment.
                problem = error
            await asyncio.sleep(_PAUSE)  # somebody else made it or is removing it; which of both, the next look tells
        raise problem

    def _is_ours(self, network: str) -> bool:
        return network != types.PUBLIC or self._configured is None

    async def _is_there(self, network: str) -> bool:
        try:
            return any(item["Labels"].get(NETWORK) == network for item in await self._ours())
        except aiodocker.DockerError as error:
            raise errors.NodeUnavailable(self._engine.name, client.words(error.message)) from error

    async def _ours(self) -> list[dict[str, Any]]:
        filters = orjson.dumps({"label": [f"{body.INSTANCE}={self._instance}"]}).decode()
        _, found = await self._engine.call("GET", "networks", params={"filters": filters}, timeout=SWEEP_TIMEOUT)
        return list(found)

    async def _make(self, network: str) -> bool:
        """False where there is one of this name by now, somebody's."""
        try:
            await self._engine.call("POST", "networks/create", body=self._body(network))
        except aiodocker.DockerError as error:
            if error.status == 409 or start_errors.is_same_bridge(error.message):
                return False
            raise start_errors.network(self._engine.name, network, error.status, error.message) from error
        log.info("network.made", node=self._engine.name, network=network)
        return True

    def _body(self, network: str) -> dict[str, Any]:
        return {
            "Name": self.name_of(network),
            "CheckDuplicate": True,
            "Driver": "bridge",
            "Labels": {body.INSTANCE: self._instance, NETWORK: network},
            "Options": {
                # An engine makes two networks of one name when it is asked twice at once; two with one bridge it does not.
                f"{_BRIDGE}.name": bridge_name(self._instance, self._engine.name, network),
                f"{_BRIDGE}.enable_icc": "false" if network == types.PUBLIC else "true",
            },
        }


def bridge_name(instance: str, node: str, network: str) -> str:
    """The interface on the host: 15 characters, the most that the kernel takes."""
    return f"gd{hashlib.sha256(f'{instance}/{node}/{network}'.encode()).hexdigest()[:13]}"
