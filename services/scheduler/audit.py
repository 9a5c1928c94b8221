"""Check the scheduler's memory against MongoDB: book, allocations, starts under way, maintenance, owners."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from services.scheduler.cluster import Cluster
from services.scheduler.owners import Owners
from services.scheduler.queue.book import Book
from services.scheduler.start.dispatch import Dispatcher
from shared import clock
from shared.lifecycle import TaskStatus
from shared.models.work import Placed
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

OVERLAP = 10.0  #: seconds: longer than a write may take, so that a read includes what was written around the last one
FULL = 60.0  #: seconds between two reads of all pending tasks
FORGOTTEN = 5.0  #: seconds after which a start that is not under way is begun again


class Audit:
    """
    Finds changes that no hint reported. Raises `errors.StoreUnavailable`; the caller tries again in the next round.
    """

    def __init__(self, stores: Stores, book: Book, cluster: Cluster, owners: Owners, dispatcher: Dispatcher) -> None:
        self._stores = stores
        self._book = book
        self._cluster = cluster
        self._owners = owners
        self._dispatcher = dispatcher
        self._read_at = 0.0
        self._full_at = float("-inf")  # on the monotonic clock
        # When each start that is not under way was first seen so, on the monotonic clock.
        self._idle_since: dict[tuple[int, int], float] = {}
        self._maintenance = asyncio.Lock()

    async def take_over(self) -> None:
        """Fill book and allocations from MongoDB, and continue the starts that an earlier leader began."""
        self._book.clear()
        self._cluster.clear()
        self._read_at, self._full_at = 0.0, float("-inf")
        await self.check_maintenance()
        await self.check_allocations(forgotten=0.0)
        await self.check_book()
        await self.check_owners()

    async def check_maintenance(self) -> bool:
        """Read what is in maintenance. True if some maintenance has ended."""
        # One read at a time: of two, the one that began earlier could be recorded last and undo what the other saw.
        async with self._maintenance:
            return self._cluster.maintain(await self._stores.maintenance.names())

    async def check_book(self) -> int:
        """
        Add pending tasks that are missing and drop those that are no longer pending. Return how many were missing.
        """
        now = clock.now()
        full = clock.monotonic() - self._full_at >= FULL
        ids = await self._stores.work.pending_ids(since=0 if full else self._read_at - OVERLAP)
        missing = self._book.unknown(ids)
        if missing:
            self._book.add(await self._stores.work.pending_of(missing))
        if not full and len(self._book):
            self._book.discard(await self._stores.work.ended_unplaced(since=self._read_at - OVERLAP))
        self._read_at = now
        if full:
            self._full_at = clock.monotonic()
            dropped = self._book.keep_only(set(ids) | set(missing))
            log.info("audit.book", pending=len(self._book), entered=len(missing), dropped=dropped)
        return len(missing)

    async def check_gone(self, task_ids: Sequence[int]) -> None:
        """Drop the tasks of `task_ids` that are no longer pending; a hint may be wrong."""
        pending = {task.id for task in await self._stores.work.pending_of(task_ids)}
        self._book.discard([task_id for task_id in task_ids if task_id not in pending])

    async def check_owners(self) -> bool:
        """Read which owners are held. True if one is held no longer."""
        owners = {(key.user, key.project) for key in self._book.lanes}
        self._owners.keep_only(owners)
        return await self._owners.refresh(owners)

    async def check_allocations(self, *, forgotten: float = FORGOTTEN) -> None:
        """Derive the allocations again, and begin starts again that were not under way for `forgotten` seconds."""
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
        Return the starts that were not under way for `seconds`, by this process's clock: the one that wrote the status
        may have had another.
        """
        now, under_way = clock.monotonic(), self._dispatcher.under_way
        idle = {
            (task.id, task.attempt): task
            for task in placed
            if task.status is TaskStatus.STARTING and (task.id, task.attempt) not in under_way
        }
        self._idle_since = {key: self._idle_since.get(key, now) for key in idle}
        return [task for key, task in idle.items() if now - self._idle_since[key] >= seconds]
