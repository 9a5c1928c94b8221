"""Check what the scheduler holds in memory against MongoDB: book, allocations, starts under way, maintenance."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from services.scheduler.cluster import Cluster
from services.scheduler.queue.book import Book
from services.scheduler.start.dispatch import Dispatcher
from shared import clock
from shared.lifecycle import TaskStatus
from shared.models.work import Placed
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

OVERLAP = 10.0  #: seconds: longer than a write may take, so that what was written after the last look is in this one
FULL = 60.0  #: seconds between two looks at all that is pending
FORGOTTEN = 5.0  #: seconds after which a start that nobody works on is begun again


class Audit:
    """Finds what hints missed. Raises `errors.StoreUnavailable`; the next round tries again."""

    def __init__(self, stores: Stores, book: Book, cluster: Cluster, dispatcher: Dispatcher) -> None:
        self._stores = stores
        self._book = book
        self._cluster = cluster
        self._dispatcher = dispatcher
        self._looked_at = 0.0
        self._full_at = float("-inf")  # on the monotonic clock
        self._idle_since: dict[
            tuple[int, int], float
        ] = {}  # starts that nobody works on, and since when; the same clock
        self._maintenance = asyncio.Lock()

    async def take_over(self) -> None:
        """Fill book and allocations from nothing, and go on with the starts that an earlier leader began."""
        self._book.clear()
        self._cluster.clear()
        self._looked_at, self._full_at = 0.0, float("-inf")
        await self.check_maintenance()
        await self.check_allocations(forgotten=0.0)
        await self.check_book()
        await self.check_owners()

    async def check_maintenance(self) -> bool:
        """Read what is in maintenance: nothing is placed there. True if some of it has ended."""
        # One look at a time: of two under way, the one that began earlier could be noted last, and what it did not see be lost.
        async with self._maintenance:
            return self._cluster.maintain(await self._stores.maintenance.names())

    async def check_book(self) -> int:
        """Enter the pending tasks that are missing, and drop those that are not pending any more. Return the finds."""
        now = clock.now()
        full = clock.monotonic() - self._full_at >= FULL
        ids = await self._stores.work.pending_ids(since=0 if full else self._looked_at - OVERLAP)
        missing = self._book.unknown(ids)
        if missing:
            self._book.add(await self._stores.work.pending_of(missing))
        if not full and len(self._book):
            self._book.discard(await self._stores.work.ended_unplaced(since=self._looked_at - OVERLAP))
        self._looked_at = now
        if full:
            self._full_at = clock.monotonic()
            dropped = self._book.keep_only(set(ids) | set(missing))
            log.info("audit.book", pending=len(self._book), entered=len(missing), dropped=dropped)
        return len(missing)

    async def check_gone(self, task_ids: Sequence[int]) -> None:
        """Drop those of `task_ids` that are not pending any more: whoever told of it may have been mistaken."""
        pending = {task.id for task in await self._stores.work.pending_of(task_ids)}
        self._book.discard([task_id for task_id in task_ids if task_id not in pending])

    async def check_owners(self) -> bool:
        """Look of whom nothing is to be started. True if some of it has ended."""
        owners = {(key.user, key.project) for key in self._book.lanes}
        self._dispatcher.owners.keep_only(owners)
        return await self._dispatcher.owners.look(owners)

    async def check_allocations(self, *, forgotten: float = FORGOTTEN) -> None:
        """Derive what is taken anew, and begin the starts again that nobody works on for `forgotten` seconds."""
        self._cluster.begin_audit()
        placed = await self._stores.work.placed()
        differences = self._cluster.end_audit(placed)
        stale = self._forgotten(placed, forgotten)
        if stale:
            log.info("audit.starts_adopted", count=len(stale))
            for whole in await self._stores.work.whole([task.id for task in stale]):
                self._dispatcher.begin(whole)
        if differences:
            log.info("audit.allocations", differences=differences, placed=len(placed))

    def _forgotten(self, placed: Sequence[Placed], seconds: float) -> list[Placed]:
        """
        The starts that nobody was seen to work on for `seconds`. By our own clock: who wrote that they are starting may have
        had another one.
        """
        now, under_way = clock.monotonic(), self._dispatcher.under_way
        idle = {
            (task.id, task.attempt): task
            for task in placed
            if task.status is TaskStatus.STARTING and (task.id, task.attempt) not in under_way
        }
        self._idle_since = {key: self._idle_since.get(key, now) for key in idle}
        return [task for key, task in idle.items() if now - self._idle_since[key] >= seconds]
