"""Enforce maxlifespan and the disk quota on a node's running tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from services.watcher.limits.disk_usage import Measurer
from services.watcher.limits.lifespans import Lifespans
from shared import clock, errors
from shared.lifecycle import Ending, TaskStatus
from shared.models.task import Cause
from shared.models.work import Placed
from shared.runtime import lifetime
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores
from shared.units import durations, sizes

log = structlog.get_logger(__name__)


class Limits:
    """
    Writes the kill and its cause to the task by compare-and-set. The loop that carries out intents does the rest, so a crash
    in between loses nothing.
    """

    def __init__(
        self,
        node: str,
        stores: Stores,
        directories: TaskDirectories,
        settings: Settings,
        *,
        on_expired: Callable[[], None],
    ) -> None:
        """`on_expired` is called when a task has to be killed."""
        self._node = node
        self._stores = stores
        self._directories = directories
        self._lifespans = Lifespans(settings.maxlifespan)
        self._settings = settings
        self._disk_seconds = settings.disk_seconds
        self._poll = settings.poll_seconds
        self._on_expired = on_expired
        self._wakeup = lifetime.Wakeup()

    async def update(self, placed: Sequence[Placed]) -> None:
        """Take over the tasks placed on the node, all of them. Raises `errors.StoreUnavailable`."""
        now = clock.now()
        self._lifespans.most = self._settings.maxlifespan
        if self._lifespans.is_news(placed):
            # A clock that is ahead must end no task: of two clocks, the earlier one counts.
            now = min(now, await self._stores.now())
        self._lifespans.update(placed, now=now, monotonic=clock.monotonic())
        self._wakeup.set()

    async def watch_lifespans(self, stop: asyncio.Event) -> None:
        """End tasks when their lifespan is over."""
        poll = self._poll
        while await self._wakeup.wait(stop, poll=poll):
            for expired in self._lifespans.due(clock.monotonic()):
                reason = f"ran for {durations.shown(expired.limit)}, the longest it may (maxlifespan)"
                cause = Cause(ending=Ending.LIFESPAN_REACHED, reason=reason)
                await self._expire(expired.task_id, expired.attempt, cause)
            poll = self._lifespans.wait(clock.monotonic(), most=self._poll)

    async def watch_disk(self, stop: asyncio.Event) -> None:
        """End tasks whose directories exceed the quota."""
        with Measurer() as measurer:
            async for _ in lifetime.every(stop, self._disk_seconds):
                quota = self._settings.task_disk_quota
                if quota is None:
                    continue
                try:
                    await self._measure_all(measurer, quota, stop)
                except errors.Unavailable as error:
                    log.warning("disk.not_measured", node=self._node, error=str(error))

    async def _measure_all(self, measurer: Measurer, quota: int, stop: asyncio.Event) -> None:
        for task in await self._stores.work.placed(self._node):
            if stop.is_set():
                return
            if task.status is not TaskStatus.RUNNING or task.intent is not None:
                continue
            size = await measurer.measure(self._directories.path(task.place), enough=quota)
            if size > quota:
                reason = f"its directory holds {sizes.shown(size)} or more, it may hold {sizes.shown(quota)}"
                await self._expire(task.id, task.attempt, Cause(ending=Ending.QUOTA_REACHED, reason=reason))

    async def _expire(self, task_id: int, attempt: int, cause: Cause) -> None:
        try:
            if await self._stores.tasks.expire(task_id, attempt, cause, at=clock.now()):
                log.info("task.expired", task_id=task_id, attempt=attempt, ending=cause.ending, reason=cause.reason)
                self._on_expired()
        except errors.StoreUnavailable as error:
            log.warning("task.not_expired", task_id=task_id, error=str(error))  # the next pass finds it again
