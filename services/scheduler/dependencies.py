"""Release tasks whose dependencies are met, and end tasks whose dependencies can no longer be met."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog

from services.scheduler.queue.book import Book
from shared import clock
from shared.lifecycle import Ending
from shared.models import transitions
from shared.models.transitions import Transition
from shared.observe import metrics
from shared.rules import dependencies
from shared.rules.dependencies import Waiting
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

READ = 20  #: the next check of all waiting tasks waits this many times as long as the last one took
LEVELS = 8  #: levels of a chain that are followed one by one, before all waiting tasks are checked
BATCH = 500  #: transitions in one write


class Dependencies:
    """
    Checks waiting tasks for the leader. Reported ends are followed at once; all waiting tasks are checked now and then
    in any case. Releasing a task twice changes nothing.
    """

    def __init__(self, stores: Stores, book: Book, *, poll: float) -> None:
        self._stores = stores
        self._book = book
        self._poll = poll
        self._ended: set[int] = set()
        self._all_at = float("-inf")
        self._waited = False  # whether any task waited at the last check of all

    def note_ended(self, task_ids: Iterable[int]) -> None:
        """Record that these tasks ended."""
        self._ended.update(task_ids)

    async def run(self) -> bool:
        """Check the tasks that are due. True if tasks were released. Raises `errors.StoreUnavailable`."""
        ended, self._ended = self._ended, set()
        now = clock.monotonic()
        if now >= self._all_at:
            released = await self._check_all()
            self._all_at = now + max(self._poll, READ * (clock.monotonic() - now))
            return released
        return await self._follow(ended) if ended and self._any_waits() else False

    def _any_waits(self) -> bool:
        return self._waited or bool(self._book.gated) or any(parent.waiting_on for parent in self._book.arrays.values())

    async def _check_all(self) -> bool:
        gated = await self._stores.dependencies.gated()
        self._waited = bool(gated)
        ids = {task.id for task in gated}
        stale = [task_id for task_id in self._book.gated if task_id not in ids]
        if stale:  # released by another leader, or over
            await self._read_again(stale)
        released, _ = await self._resolve(gated)
        return released or bool(stale)

    async def _follow(self, ended: set[int]) -> bool:
        """Check the tasks that wait for `ended`, and then those that wait for tasks which this ended."""
        released = False
        for _ in range(LEVELS):
            some, failed = await self._resolve(await self._stores.dependencies.followers(ended))
            released |= some
            if not failed:
                return released
            ended = failed
        self._all_at = float("-inf")
        return released

    async def _resolve(self, waiting: Sequence[Waiting]) -> tuple[bool, set[int]]:
        """Return whether tasks were released, and the ids of tasks that were ended."""
        if not waiting:
            return False, set()
        ids = {task_id for task in waiting for task_id in task.waiting_on}
        resolved = dependencies.resolve(waiting, await self._stores.dependencies.ends(ids))
        await self._stores.dependencies.satisfied(resolved.satisfied)
        failed = await self._end([task for task in waiting if task.id in resolved.impossible], resolved.impossible)
        metrics.RELEASED.inc(len(resolved.satisfied))
        if resolved.satisfied:
            await self._read_again(resolved.satisfied)
        self._book.discard(failed)
        return bool(resolved.satisfied), failed

    async def _read_again(self, ids: Iterable[int]) -> None:
        ids = list(ids)
        self._book.discard(ids)
        self._book.add(await self._stores.work.pending_of(ids))

    async def _end(self, tasks: Sequence[Waiting], reasons: dict[int, str]) -> set[int]:
        now = clock.now()
        endings = [_ending(task, reasons[task.id], now) for task in tasks]
        failed: set[int] = set()
        for first in range(0, len(endings), BATCH):
            failed |= await self._stores.tasks.transition_many(endings[first : first + BATCH])
        if failed:
            metrics.ENDED.labels(ending=Ending.DEPENDENCY_FAILED).inc(len(failed))
            log.info("tasks.dependency_failed", count=len(failed))
        return failed


def _ending(task: Waiting, reason: str, now: float) -> Transition:
    return transitions.end_unplaced(
        task.id, task.attempt, task.status, ending=Ending.DEPENDENCY_FAILED, reason=reason, at=now
    )
