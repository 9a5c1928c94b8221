"""Start a service that works with the stores, the broker and the executor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from shared import lifetime, live, logs
from shared.broker import broker
from shared.executors import factory
from shared.executors.base import Executor
from shared.hosts import Hosts
from shared.settings import Settings
from shared.store import stores

#: What a service does with its parts until the event is set.
Work = Callable[[Settings, stores.Stores, broker.Broker, Executor, asyncio.Event], Awaitable[None]]


def run(service: str, settings: Settings, work: Work) -> None:
    """Open what the service needs, let it `work` until SIGINT or SIGTERM, and close it again."""
    logs.configure(service, level=settings.log_level)
    lifetime.run(_serve(settings, work))


async def _serve(settings: Settings, work: Work) -> None:
    stop = asyncio.Event()
    lifetime.stop_on_signals(stop)
    live.listen(settings, stop)
    executor = factory.build(settings)
    try:
        async with stores.connect(settings) as opened, broker.connect(settings) as hints:
            await lifetime.until_done(stop, opened.prepare)
            # Before anything else: a node that is not known yet would be taken for one that is none any more.
            await lifetime.until_done(stop, Hosts(settings, opened, executor).read)
            await work(settings, opened, hints, executor, stop)
    finally:
        await executor.close()
