"""End tasks that no node could take for `unplaceable_after`, if that is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import chain

import structlog

from services.scheduler.arrays_and_dependencies import ArraysAndDependencies
from services.scheduler.cluster import Cluster
from services.scheduler.queue.book import Book
from services.scheduler.why_pending.node_verdicts import NodeReasons
from shared import clock, errors
from shared.lifecycle import Ending, TaskStatus
from shared.models import transitions
from shared.models.pending_reason import PendingReason
from shared.models.transitions import Transition
from shared.models.work import Pending
from shared.observe import metrics
from shared.runtime import lifetime
from shared.settings import Settings
from shared.store.stores import Stores
from shared.units import durations

log = structlog.get_logger(__name__)

EVERY = 30.0  #: seconds between two checks
GAP = 3600.0  #: seconds without a check after which the nodes in between are unknown, and counting begins again
MOST = 5000  #: unplaceable shapes counted at a time
_BATCH = 500  #: transitions in one write
_SLICE = 200  #: shapes compared with the nodes before the event loop runs other tasks


class Unplaceable:
    """
    Counts for the leader how long no node could take each shape. The start of that time is stored, so that the next
    scheduler continues to count. A task ends once its shape was unplaceable, and itself pending, for
    `unplaceable_after`.
    """

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        book: Book,
        cluster: Cluster,
        relations: ArraysAndDependencies,
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._book = book
        self._cluster = cluster
        self._relations = relations

    async def run(self, stop: asyncio.Event, *, leads: Callable[[], bool]) -> None:
        """Check until `stop`, while this scheduler leads and has filled its book."""
        async for _ in lifetime.every(stop, EVERY):
            try:
                await self.check(leads)
            except errors.Unavailable as error:
                log.warning("unplaceable.not_checked", error=str(error))

    async def check(self, leads: Callable[[], bool]) -> set[int]:
        """Count, end the tasks whose time is over, and return their ids. Raises `errors.StoreUnavailable`."""
        after = self._settings.unplaceable_after
        nodes = self._cluster.snapshot()
        # A node that was never seen may be large enough for any task: counting stops, and keeps what it has.
        if after is None or not leads() or not nodes or not all(node.seen for node in nodes):
            return set()
        reasons = await self._find_unplaceable(NodeReasons(nodes))
        if not leads():
            return set()
        now = clock.now()
        since = await self._stores.unplaceable.note(reasons.keys(), now=now, gap=GAP)
        due = [
            task
            for task in self._waiting()
            if task.shape in reasons and now - max(since.get(task.shape, now), task.queued_at) >= after
        ]
        return await self._end(due, reasons, after, now)

    async def _find_unplaceable(self, nodes: NodeReasons) -> dict[str, str]:
        """Return, by shape, the sentence that says why no node could ever take it."""
        one_of = {task.shape: task for task in self._waiting()}
        reasons: dict[str, str] = {}
        for number, shape in enumerate(sorted(one_of)):
            if len(reasons) == MOST:
                break
            if nodes.reason(one_of[shape]) is PendingReason.NEVER:
                reasons[shape] = nodes.sentence(one_of[shape])
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        return reasons

    def _waiting(self) -> Iterator[Pending]:
        """Yield all tasks of the book that would be placed, now or later."""
        lanes = chain.from_iterable(self._book.lanes.values())
        return chain(lanes, self._book.gated.values(), self._book.delayed.values())

    async def _end(self, tasks: list[Pending], reasons: Mapping[str, str], after: float, now: float) -> set[int]:
        ended: set[int] = set()
        for first in range(0, len(tasks), _BATCH):
            endings = [_ending(task, reasons[task.shape], after, now) for task in tasks[first : first + _BATCH]]
            ended |= await self._stores.tasks.transition_many(endings)
        if ended:
            self._book.discard(ended)
            self._relations.note_ended(ended)
            metrics.ENDED.labels(ending=Ending.START_FAILED).inc(len(ended))
            log.info("tasks.unplaceable", count=len(ended))
        return ended


def _ending(task: Pending, why_never: str, after: float, now: float) -> Transition:
    return transitions.end_unplaced(
        task.id,
        task.attempt,
        TaskStatus.PENDING,
        ending=Ending.START_FAILED,  # an ending that earlier versions, which may read it, know
        reason=f"{why_never}; it was ended since that did not change for {durations.shown(after)}",
        at=now,
        intents=[None],  # a requested kill is carried out as a kill
        about={"user": task.user},
    )
