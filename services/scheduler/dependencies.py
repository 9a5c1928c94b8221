"""Let tasks go that waited for others, and end those whose condition can no longer come true."""

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

READ = 20  #: times as long as it took to look at all that wait until the next such look
LEVELS = 8  #: of a chain that are followed one by one, before all that wait is looked at
BATCH = 500  #: moves in one write


class Dependencies:
    """
    The leader's look at who waits for whom. Ends that are told are followed at once; all that waits is looked at in any case now
    and then. To let go of an id twice changes nothing.
    """

    def __init__(self, stores: Stores, book: Book, *, poll: float) -> None:
        self._stores = stores
        self._book = book
        self._poll = poll
        self._ended: set[int] = set()
        self._all_at = float("-inf")
        self._waited = False  # whether anybody did when all were last looked at

    def note_ended(self, task_ids: Iterable[int]) -> None:
        """These tasks ended."""
        self._ended.update(task_ids)

    async def run(self) -> bool:
        """Do what there is to do now. True if tasks were let go. Raises `errors.StoreUnavailable`."""
        ended, self._ended = self._ended, set()
        now = clock.monotonic()
        if now >= self._all_at:
            released = await self._look_at_all()
            self._all_at = now + max(self._poll, READ * (clock.monotonic() - now))
            return released
        return await self._follow(ended) if ended and self._somebody_waits() else False

    def _somebody_waits(self) -> bool:
        return self._waited or bool(self._book.gated) or any(parent.waiting_on for parent in self._book.arrays.values())

    async def _look_at_all(self) -> bool:
        gated = await self._stores.dependencies.gated()
        self._waited = bool(gated)
        ids = {task.id for task in gated}
        stale = [task_id for task_id in self._book.gated if task_id not in ids]
        if stale:  # let go by another leader, or over
            await self._read_again(stale)
        released, _ = await self._resolve(gated)
        return released or bool(stale)

    async def _follow(self, ended: set[int]) -> bool:
        """Look at those that waited for `ended`, and at those that waited for those of them which end by it."""
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
        """True if tasks were let go, and the ids of those that were ended."""
        if not waiting:
            return False, set()
        ids = {task_id for task in waiting for task_id in task.waiting_on}
        found = dependencies.resolve(waiting, await self._stores.dependencies.ends(ids))
        await self._stores.dependencies.satisfied(found.satisfied)
        failed = await self._end([task for task in waiting if task.id in found.impossible], found.impossible)
        metrics.RELEASED.inc(len(found.satisfied))
        if found.satisfied:
            await self._read_again(found.satisfied)
        self._book.discard(failed)
        return bool(found.satisfied), failed

    async def _read_again(self, ids: Iterable[int]) -> None:
        ids = list(ids)
        self._book.discard(ids)
        self._book.add(await self._stores.work.pending_of(ids))

    async def _end(self, tasks: Sequence[Waiting], reasons: dict[int, str]) -> set[int]:
        now = clock.now()
        moves = [_ending(task, reasons[task.id], now) for task in tasks]
        failed: set[int] = set()
        for first in range(0, len(moves), BATCH):
            failed |= await self._stores.tasks.transition_many(moves[first : first + BATCH])
        if failed:
            metrics.ENDED.labels(ending=Ending.DEPENDENCY_FAILED).inc(len(failed))
            log.info("tasks.dependency_failed", count=len(failed))
        return failed


def _ending(task: Waiting, reason: str, now: float) -> Transition:
    return transitions.end_unplaced(
        task.id, task.attempt, task.status, ending=Ending.DEPENDENCY_FAILED, reason=reason, at=now
    )
