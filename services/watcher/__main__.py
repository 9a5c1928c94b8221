"""Run one process of the watcher."""

from __future__ import annotations

import asyncio

from services.watcher import service
from shared import settings
from shared.broker.broker import Broker
from shared.config import loading
from shared.executors.base import Executor
from shared.store.stores import Stores
from shared.system import startup


def run(configured: settings.Settings) -> None:
    """Watch until SIGINT or SIGTERM."""
    startup.run("watcher", configured, _work)


async def _work(
    configured: settings.Settings, stores: Stores, broker: Broker, executor: Executor, stop: asyncio.Event
) -> None:
    await service.WatcherService(configured, stores, broker, executor).run(stop)


if __name__ == "__main__":
    run(loading.load())
