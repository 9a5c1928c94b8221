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
from shared.models.node import ALL
from shared.runtime import lifetime
from shared.settings import Node, Settings
from shared.store import stores
from shared.store.stores import Stores
from shared.system import inventory
from shared.system.inventory import Row

_BY = "godocker"
_LOOK = 1.0  #: seconds between two checks of the tasks left on a node


@dataclass(frozen=True, slots=True)
class EngineReport:
    """Version of an engine, and a sentence for each configured resource that it lacks."""

    version: str
    missing: Sequence[str] = ()


async def add(settings: Settings, node: Node, *, check: bool, force: bool = False) -> EngineReport:
    """
    Add a host and return the report of its engine. Raises `errors.NodeUnavailable` if `check` is set and the engine does not
    answer, `errors.Conflict` if the engine has less than configured and `force` is not set, and `errors.InvalidInput`.
    """
    if Feature.HOSTS not in factory.features(settings):
        raise errors.ConfigurationError("tasks run as processes of this machine, so hosts cannot be added")
    _check_tls(node, read=check)
    report = _ask(node) if check else EngineReport("not checked")
    if report.missing and not force:
        raise errors.Conflict(
            f"{'; '.join(report.missing)}. Omit the option to use what the engine has, or repeat the command with --force"
        )
    async with stores.connect(settings) as store:
        others = [*settings.docker_nodes, *await store.hosts.list()]
        for other in others:
            if node.name in (other.name, ALL):
                raise errors.Conflict(f"the name {node.name} is taken")
            if node.url == other.url:
                raise errors.Conflict(
                    f"{node.url} is already used by node {other.name}: its cores and memory would be counted twice"
                )
        if check and (same := await asyncio.to_thread(twins.of, node, others)):
            raise errors.Conflict(
                f"{node.url} is the engine of node {same} by another address: its cores and memory would be counted twice"
            )
        await store.hosts.add(node, by=_BY, at=clock.now())
    return report


def _check_tls(node: Node, *, read: bool) -> None:
    for name in ("tls_ca", "tls_cert", "tls_key"):
        path = getattr(node, name)
        if path is not None and not path.is_absolute():
            raise errors.InvalidInput.of(
                name, f"{path} must be an absolute path, because services with other working directories read it"
            )
        if path is not None and read:
            try:
                path.read_bytes()
            except OSError as error:
                raise errors.InvalidInput.of(name, f"{path} cannot be read: {error.strerror}") from None
    if (node.tls_cert is None) != (node.tls_key is None):
        raise errors.InvalidInput.of("tls_cert, tls_key", "set both the certificate and its key, or neither")


def _ask(node: Node) -> EngineReport:
    version = engine_probe.ask(node, "/version").get("Version")
    return EngineReport(f"version {version}", capacity.missing(node, engine_probe.ask(node, "/info")))


async def every(settings: Settings) -> list[Row]:
    async with stores.connect(settings) as store:
        return await inventory.take(settings, store, factory.features(settings))


async def drain(settings: Settings, name: str, *, on: bool) -> None:
    """Drain a node, or end its drain. Raises `errors.NotFound`."""
    async with stores.connect(settings) as store:
        rows = await inventory.take(settings, store, factory.features(settings))
        if name not in {row.name for row in rows} | await store.maintenance.names():
            raise errors.NotFound(f"there is no node {name}")
        await _maintain(settings, store, name, on=on)


async def wait_drained(settings: Settings, name: str, report: Callable[[int], None]) -> None:
    """Wait until a node has no tasks; call `report` with their number whenever it changes."""
    async with stores.connect(settings) as store:
        reported = None
        while reported != 0:
            left = len(await store.work.placed(name))
            if left != reported:
                report(left)
                reported = left
            if left:
                await asyncio.sleep(_LOOK)


async def remove(settings: Settings, name: str, *, force: bool) -> int:
    """
    Remove an added host and return the number of tasks left on it. The host is drained first, and stays drained if it cannot be
    removed. Raises `errors.NotFound`, and `errors.Conflict` for a configured host and, unless `force`, for a host with tasks.
    """
    async with stores.connect(settings) as store:
        if name in {node.name for node in settings.docker_nodes}:
            raise errors.Conflict(f"{name} is in the configuration file: remove it there, then run `godocker reload`")
        if name not in {node.name for node in await store.hosts.list()}:
            raise errors.NotFound(f"there is no node {name} that was added with `node add`")
        if name not in await store.maintenance.names():
            await _maintain(settings, store, name, on=True)
            # A scheduler that has not read the drain yet may still place a task there.
            await asyncio.sleep(2 * settings.poll_seconds)
        left = len(await store.work.placed(name))
        if left and not force:
            raise errors.Conflict(
                f"{left} tasks are on {name}, which is drained now: wait with `godocker node drain {name} --wait`, or remove it "
                "with --force and count them as lost"
            )
        await store.hosts.remove(name)
        await _wait_forgotten(settings, store, name)
        await _maintain(settings, store, name, on=False)  # a host added later under this name starts undrained
        return left


async def _wait_forgotten(settings: Settings, store: Stores, name: str) -> None:
    """Wait until the leading scheduler has dropped a node, or a time limit is over."""
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
