"""
The shared networks of a node's runs: created when the first run needs one, removed when no run is left in it.

Runs in `public` reach the world but not each other. Runs in a user's or a project's network reach the world, and each other by
name; the engine's bridges do not reach other bridges.
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
    """The networks of one node. `configured`: the engine's network used for `public`; None: one of ours."""

    def __init__(self, engine: client.Engine, *, instance: str, configured: str | None) -> None:
        self._engine = engine
        self._instance = instance
        self._configured = configured
        self._present: set[str] = set()
        self._unused: set[str] = set()
        self._lock = asyncio.Lock()

    def name_of(self, network: str | None) -> str:
        """Return the engine's name of a network."""
        if network is None:
            return NONE
        if network == types.PUBLIC and self._configured is not None:
            return self._configured
        # Instance names have no dots, so networks of two instances never share a name.
        return f"{self._instance}.{network}"

    async def ensure(self, network: str | None) -> None:
        """Create the network unless it exists. Raises `errors.StartFailed` subclasses, `errors.NodeUnavailable`."""
        if network is None or not self._is_ours(network):
            return
        # One at a time: an engine that gets two requests at once reserves addresses twice before it finds that one suffices.
        async with self._lock:
            if network not in self._present:
                await self._find_or_make(network)
                self._present.add(network)

    def was_lost(self, network: str | None, message: str) -> bool:
        """
        Return whether a start failed because our network is gone and has to be created again: a sweep cannot know of a container
        that is being created for it.
        """
        if network is None or not self._is_ours(network) or not start_errors.is_missing_network(message):
            return False
        self._present.discard(network)
        return True

    async def sweep(self, used: Collection[str]) -> None:
        """
        Remove our networks that no container uses. `used` are the engine's names of used ones. A network must have been unused
        at the last sweep too, so that a series of short tasks does not recreate it each time.
        """
        unused = {item["Id"]: item for item in await self._ours() if item["Name"] not in used}
        for identifier in unused.keys() & self._unused:
            try:
                # The engine refuses where something is connected.
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
                # Or another scheduler is creating the same one right now.
                problem = error
            await asyncio.sleep(_PAUSE)  # somebody else created it or is removing it; the next check shows which
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
        _, answer = await self._engine.call("GET", "networks", params={"filters": filters}, timeout=SWEEP_TIMEOUT)
        return list(answer)

    async def _make(self, network: str) -> bool:
        """Create the network. Return False where one of this name exists by now."""
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
                # Two concurrent requests make an engine create two networks of one name, but never two with one bridge.
                f"{_BRIDGE}.name": bridge_name(self._instance, self._engine.name, network),
                f"{_BRIDGE}.enable_icc": "false" if network == types.PUBLIC else "true",
            },
        }


def bridge_name(instance: str, node: str, network: str) -> str:
    """Return the name of the host's interface: 15 characters, the kernel's maximum."""
    return f"gd{hashlib.sha256(f'{instance}/{node}/{network}'.encode()).hexdigest()[:13]}"
