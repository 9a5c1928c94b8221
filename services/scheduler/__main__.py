"""Run one process of the scheduler."""

from __future__ import annotations

import asyncio

from services.scheduler import service
from services.scheduler.policies import registry
from shared import settings
from shared.broker.broker import Broker
from shared.config import loading
from shared.executors.base import Executor
from shared.store.stores import Stores
from shared.system import startup


def run(configured: settings.Settings) -> None:
    """Schedule until SIGINT or SIGTERM. Raises `errors.ConfigurationError` if the policy does not exist."""
    registry.build(configured)  # fails at once, not after the stores have answered
    startup.run("scheduler", configured, _work)


async def _work(
    configured: settings.Settings, stores: Stores, broker: Broker, executor: Executor, stop: asyncio.Event
) -> None:
    await service.SchedulerService(configured, stores, broker, executor).run(stop)


if __name__ == "__main__":
    run(loading.load())
