"""Start a service that works with the stores, the broker and the executor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from shared import errors
from shared.broker import broker
from shared.config import live
from shared.executors import factory
from shared.executors.base import Executor
from shared.executors.types import Owner
from shared.observe import logs
from shared.runtime import lifetime
from shared.settings import Settings
from shared.storage import marks
from shared.storage.directories import TaskDirectories
from shared.store import stores
from shared.system import timekeeping
from shared.system.hosts import Hosts

log = structlog.get_logger(__name__)

#: The main function of a service, which runs until the event is set.
Work = Callable[[Settings, stores.Stores, broker.Broker, Executor, asyncio.Event], Awaitable[None]]


def run(service: str, settings: Settings, work: Work) -> None:
    """Open the parts that a service needs, run `work` until SIGINT or SIGTERM, and close them."""
    logs.configure(service, level=settings.log_level)
    lifetime.run(_serve(settings, work))


async def _serve(settings: Settings, work: Work) -> None:
    stop = asyncio.Event()
    lifetime.stop_on_signals(stop)
    live.listen(settings, stop)
    await factory.build(settings).close()  # report bad settings at once, not when the stores answer
    async with stores.connect(settings) as opened, broker.connect(settings) as hints:
        owner = await _prepared(settings, opened, stop)
        await _warn_of_faults(opened, hints)
        if owner is None:
            return
        executor = factory.build(settings, owner)
        try:
            # First: an unknown node would be taken for a removed one.
            await lifetime.until_done(stop, Hosts(settings, opened, executor).read)
            async with timekeeping.synchronized(opened, TaskDirectories(settings.shared_dir)):
                await work(settings, opened, hints, executor, stop)
        finally:
            await executor.close()


async def take(settings: Settings, opened: stores.Stores) -> Owner:
    """
    Return the system of the database, with `shared_dir` marked as its own. Raises `errors.ConfigurationError` if that is
    another system's, and `errors.Unavailable`.
    """
    await opened.prepare()
    identity = await opened.identity.ensure()
    await asyncio.to_thread(marks.take, settings.shared_dir, identity)
    if not identity.has_shared_dir:
        await opened.identity.note_shared_dir()
    return Owner(identity.mark, identity.earlier)


async def _warn_of_faults(opened: stores.Stores, hints: broker.Broker) -> None:
    """Log the known faults of the stores that others can reach."""
    for ask in (opened.faults, hints.faults):
        try:
            found = await ask()
        except errors.Unavailable:
            continue  # reported by whoever needs it
        for fault in found:
            if not fault.is_closed:
                log.warning("store.known_fault", fault=str(fault))


async def _prepared(settings: Settings, opened: stores.Stores, stop: asyncio.Event) -> Owner | None:
    """Return the system of the database once we may work with it; None if `stop` is set before."""
    found: list[Owner] = []

    async def look() -> None:
        found.append(await take(settings, opened))

    await lifetime.until_done(stop, look)
    for owner in found:
        log.info("system.identity", mark=owner.mark, earlier=owner.earlier)
        return owner
    return None
