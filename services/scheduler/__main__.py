"""Run one process of the scheduler."""

from __future__ import annotations

import asyncio

from services.scheduler import service
from shared import lifetime, logs, settings
from shared.broker import broker
from shared.executors import factory
from shared.store import stores


def run(configured: settings.Settings) -> None:
    """Schedule until SIGINT or SIGTERM."""
    logs.configure("scheduler", level=configured.log_level)
    lifetime.run(schedule(configured))


async def schedule(configured: settings.Settings) -> None:
    stop = asyncio.Event()
    lifetime.stop_on_signals(stop)
    executor = factory.build(configured)
    try:
        async with stores.connect(configured) as opened, broker.connect(configured) as hints:
            await lifetime.until_done(stop, opened.ensure_indexes)
            await service.SchedulerService(configured, opened, hints, executor).run(stop)
    finally:
        await executor.close()


if __name__ == "__main__":
    run(settings.load())
