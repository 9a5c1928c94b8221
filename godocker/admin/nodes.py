"""Add, drain and remove Docker hosts while the system runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from godocker.docker import capacity, engine_probe, twins
from shared import clock, errors
from shared.broker import broker
from shared.executors import factory
from shared.executors.types import Feature
from shared.models.maintenance import ALL
from shared.runtime import lifetime
from shared.settings import Node, Settings
from shared.store import stores
from shared.store.stores import Stores
from shared.system import inventory
from shared.system.inventory import Row

_BY = "godocker"
_LOOK = 1.0  #: seconds between two looks at what is left on a node


@dataclass(frozen=True, slots=True)
class Said:
    """An engine's version, and what the node was said to have that it has not."""

    version: str
    surplus: Sequence[str] = ()


async def add(settings: Settings, node: Node, *, check: bool, force: bool = False) -> Said:
    """
    Add a host; returns what its engine said of itself. Raises `errors.NodeUnavailable` where `check` and it does not
    answer here, `errors.Conflict` where it has less than the node is said to have and not `force`, and `errors.InvalidInput`.
    """
    if Feature.HOSTS not in factory.features(settings):
        raise errors.ConfigurationError("tasks are processes of this machine: there are no hosts to add")
    _check_tls(node, read=check)
    said = _ask(node) if check else Said("not asked")
    if said.surplus and not force:
        raise errors.Conflict(
            f"{'; '.join(said.surplus)}. Leave the option out to use what the engine has, or repeat the command with --force"
        )
    async with stores.connect(settings) as store:
        others = [*settings.docker_nodes, *await store.hosts.list()]
        for other in others:
            if node.name in (other.name, ALL):
                raise errors.Conflict(f"the name {node.name} is taken")
            if node.url == other.url:
                raise errors.Conflict(
                    f"{node.url} is already used by node {other.name}: its cores and memory would be given out twice"
                )
        if check and (same := await asyncio.to_thread(twins.of, node, others)):
            raise errors.Conflict(
                f"{node.url} is the engine of node {same} by another address: its cores and memory would be given out twice"
            )
        await store.hosts.add(node, by=_BY, at=clock.now())
    return said


def _check_tls(node: Node, *, read: bool) -> None:
    for name in ("tls_ca", "tls_cert", "tls_key"):
        path = getattr(node, name)
        if path is not None and not path.is_absolute():
            raise errors.InvalidInput.of(
                name, f"{path} must be an absolute path: services read it, wherever they were started"
            )
        if path is not None and read:
            try:
                path.read_bytes()
            except OSError as error:
                raise errors.InvalidInput.of(name, f"{path} cannot be read: {error.strerror}") from None
    if (node.tls_cert is None) != (node.tls_key is None):
        raise errors.InvalidInput.of("tls_cert, tls_key", "a certificate and its key belong together")


def _ask(node: Node) -> Said:
    version = engine_probe.ask(node, "/version").get("Version")
    return Said(f"version {version}", capacity.surplus(node, engine_probe.ask(node, "/info")))


async def every(settings: Settings) -> list[Row]:
    async with stores.connect(settings) as store:
        return await inventory.take(settings, store, factory.features(settings))


async def drain(settings: Settings, name: str, *, on: bool) -> None:
    """Begin or end that a node is given nothing new. Raises `errors.NotFound`."""
    async with stores.connect(settings) as store:
        rows = await inventory.take(settings, store, factory.features(settings))
        if name not in {row.name for row in rows} | await store.maintenance.names():
            raise errors.NotFound(f"there is no node {name}")
        await _maintain(settings, store, name, on=on)


async def wait_drained(settings: Settings, name: str, say: Callable[[int], None]) -> None:
    """Wait until no task is left on a node; `say` how many there are, whenever that changes."""
    async with stores.connect(settings) as store:
        said = None
        while said != 0:
            left = len(await store.work.placed(name))
            if left != said:
                say(left)
                said = left
            if left:
                await asyncio.sleep(_LOOK)


async def remove(settings: Settings, name: str, *, force: bool) -> int:
    """
    Take a host that was added out of the system; returns how many tasks were left there. It is drained before, and stays so where
    it cannot be removed. Raises `errors.NotFound`, and `errors.Conflict` for one of the configuration and, unless `force`, for
    one that has tasks.
    """
    async with stores.connect(settings) as store:
        if name in {node.name for node in settings.docker_nodes}:
            raise errors.Conflict(f"{name} is in the configuration file: remove it there, then run `godocker reload`")
        if name not in {node.name for node in await store.hosts.list()}:
            raise errors.NotFound(f"there is no node {name} that was added with `node add`")
        if name not in await store.maintenance.names():
            await _maintain(settings, store, name, on=True)
            # Until every scheduler has read it, one may place a task there.
            await asyncio.sleep(2 * settings.poll_seconds)
        left = len(await store.work.placed(name))
        if left and not force:
            raise errors.Conflict(
                f"{left} tasks are on {name}. It is drained now: wait with `godocker node drain {name} --wait`, or remove it "
                "with --force, and they count as lost"
            )
        await store.hosts.remove(name)
        await _forgotten(settings, store, name)
        await _maintain(settings, store, name, on=False)  # one that is added later is another
        return left


async def _forgotten(settings: Settings, store: Stores, name: str) -> None:
    """Wait until the leading scheduler has let go of a node, or has had the time to."""
    deadline = clock.monotonic() + 2 * (settings.poll_seconds + settings.reconcile_seconds)
    async for _ in lifetime.every(asyncio.Event(), _LOOK / 4):
        if name not in {node.id for node in await store.nodes.list()} or clock.monotonic() > deadline:
            return


async def _maintain(settings: Settings, store: Stores, name: str, *, on: bool) -> None:
    await store.maintenance.put(name, on=on, by=_BY, at=clock.now())
    try:
        async with broker.connect(settings) as hints:
            await hints.tell_scheduler_maintenance()
    except errors.BrokerUnavailable:
        print("godocker: Redis does not answer; the scheduler notices the change within seconds", file=sys.stderr)
