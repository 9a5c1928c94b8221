"""Send hints to the other services through Redis, outside of the request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from shared import errors
from shared.broker.broker import Broker
from shared.observe import metrics
from shared.runtime import lifetime

log = structlog.get_logger(__name__)


class Hints:
    """Collects hints and sends them in bulk. A hint that cannot be sent is dropped: the other services poll."""

    def __init__(self, broker: Broker, *, poll: float) -> None:
        self._broker = broker
        self._poll = poll
        self._wakeup = lifetime.Wakeup()
        self._pending: list[int] = []
        self._intents = False

    def pending(self, task_ids: Sequence[int]) -> None:
        """Hint that these tasks became pending."""
        self._pending.extend(task_ids)
        self._wakeup.set()

    def intent_written(self) -> None:
        """Hint that an owner wrote an intent."""
        self._intents = True
        self._wakeup.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Send collected hints until `stop`, then those that are left."""
        while await self._wakeup.wait(stop, poll=self._poll):
            await self._send()
        await self._send()

    async def _send(self) -> None:
        ids, self._pending = self._pending, []
        intents, self._intents = self._intents, False
        try:
            if ids:
                await self._broker.enqueue(ids)
            if intents:
                await self._broker.tell_watcher_asked()
        except errors.BrokerUnavailable as error:
            metrics.HINTS_LOST.inc()
            log.warning("hints.lost", tasks=len(ids), intents=intents, error=str(error))
