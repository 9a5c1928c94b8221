"""Sample the resource usage of a node's running tasks, for the monitoring route."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import structlog

from shared import errors
from shared.broker.broker import Broker
from shared.executors.base import Executor
from shared.executors.types import Handle, Stats
from shared.lifecycle import TaskStatus
from shared.runtime import lifetime
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

_AT_A_TIME = 2  #: concurrent calls to the engine: samples are its least urgent work


class Sampler:
    """Takes samples in turn and keeps them in Redis. Without Redis there are none for a while."""

    def __init__(self, node: str, stores: Stores, broker: Broker, executor: Executor, *, seconds: float) -> None:
        self._node = node
        self._stores = stores
        self._broker = broker
        self._executor = executor
        self._seconds = seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Sample every `seconds` until `stop`; missed rounds are skipped."""
        async for _ in lifetime.every(stop, self._seconds):
            try:
                await self._sample_all(stop)
            except errors.Unavailable as error:
                log.debug("samples.none", node=self._node, error=str(error))

    async def _sample_all(self, stop: asyncio.Event) -> None:
        running = [t for t in await self._stores.work.placed(self._node) if t.status is TaskStatus.RUNNING]
        for first in range(0, len(running), _AT_A_TIME):
            if stop.is_set():
                return
            some = running[first : first + _AT_A_TIME]
            stats = await asyncio.gather(
                *(self._executor.stats(Handle(task.node, task.id, task.attempt, task.system)) for task in some)
            )
            samples = {task.id: _shown(sample) for task, sample in zip(some, stats, strict=True) if sample is not None}
            if samples:
                await self._broker.add_samples(samples)


def _shown(sample: Stats) -> dict[str, float | int]:
    """Return a sample with the field names of the Web API."""
    values = asdict(sample)
    return {"timestamp": values.pop("at"), **values}
