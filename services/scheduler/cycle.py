"""One scheduling cycle: take in what is new, plan, commit the plan, say why the rest waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from services.scheduler import placement
from services.scheduler.cluster import Allocation, Cluster
from services.scheduler.dispatch import Dispatcher
from services.scheduler.pending import Book
from services.scheduler.policies.base import Policy
from services.scheduler.shares import Shares
from shared import clock, errors, metrics
from shared.broker.broker import Broker
from shared.models.node import Verdict
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

PLACEMENTS = 500  #: in one plan: what one bulk write takes well
QUEUE_READ = 2000  #: ids taken from the queue at a time
REASON_AGE = 2.0  #: seconds a reason is good for, before the same shape is explained again


class Cycle:
    """The leader's cycle and what it needs between two of them."""

    def __init__(
        self,
        stores: Stores,
        broker: Broker,
        book: Book,
        cluster: Cluster,
        dispatcher: Dispatcher,
        policy: Policy,
        shares: Shares,
    ) -> None:
        self._stores = stores
        self._broker = broker
        self._book = book
        self._cluster = cluster
        self._dispatcher = dispatcher
        self._policy = policy
        self._shares = shares
        self._explained: dict[str, float] = {}

    async def run(self, *, epoch: int) -> bool:
        """
        One cycle. True if there is more to do at once: the limit ended the pass, or the queue holds more.
        Raises `errors.StoreUnavailable`.
        """
        began = clock.monotonic()
        more = await self.read_queue()
        self._take_released()
        plan = self._plan(began)
        won = await self._commit(plan.placements, epoch)
        await self._record_reasons(plan.reasons, placed={placed.task.shape for placed in plan.placements})
        self._measure(began)
        if plan.placements or plan.reasons:
            log.info(
                "cycle.done",
                placed=len(won),
                lost=len(plan.placements) - len(won),
                shapes_waiting=len(plan.unplaced),
                pending=len(self._book),
                milliseconds=round((clock.monotonic() - began) * 1000, 1),
            )
        return more or plan.full

    async def read_queue(self) -> bool:
        """Enter what the queue names into the book. True if the queue may hold more."""
        try:
            ids = await self._broker.dequeue(QUEUE_READ)
        except errors.BrokerUnavailable as error:
            log.warning("cycle.no_queue", error=str(error))  # the poll finds them
            return False
        if ids:
            self._book.add(await self._stores.work.pending_of(ids))
        return len(ids) == QUEUE_READ

    def _take_released(self) -> None:
        released, self._dispatcher.released = self._dispatcher.released, []
        self._cluster.release(released)

    def _plan(self, now: float) -> placement.Plan:
        self._explained = {shape: at for shape, at in self._explained.items() if now - at < REASON_AGE}
        plan = placement.plan(
            self._policy.begin(self._book.lanes, self._shares.view(clock.now())),
            self._cluster.snapshot(),
            limit=PLACEMENTS,
            explained=self._explained.keys(),
        )
        self._explained.update(dict.fromkeys(plan.reasons, now))
        return plan

    async def _commit(self, placements: Sequence[placement.Placement], epoch: int) -> set[int]:
        if not placements:
            return set()
        # Allocated before the write: if its answer is lost, what it did counts until the audit has looked.
        for placed in placements:
            task = placed.task
            self._cluster.allocate(task.id, task.attempt + 1, Allocation(placed.node, task.cpus, task.memory))
        self._book.discard([placed.task.id for placed in placements])
        try:
            won = await self._dispatcher.commit(placements, epoch=epoch)
        except errors.StoreUnavailable:
            # Some may be placed and some not: those that are lose the next compare-and-set, the others must not
            # wait for the next full look at the book.
            self._book.add(placed.task for placed in placements)
            raise
        finally:
            self._cluster.written((placed.task.id, placed.task.attempt + 1) for placed in placements)
        if self._policy.needs_shares:
            self._shares.charge(placed.task for placed in placements if placed.task.id in won)
        lost = [placed.task for placed in placements if placed.task.id not in won]
        if lost:
            self._cluster.release((task.id, task.attempt + 1) for task in lost)
            self._book.add(await self._stores.work.pending_of([task.id for task in lost]))
        return won

    async def _record_reasons(self, reasons: Mapping[str, str], *, placed: set[str]) -> None:
        now = clock.now()
        verdicts = [Verdict(id=shape, reason=reason, at=now) for shape, reason in reasons.items()]
        gone = placed - reasons.keys() - self._explained.keys()
        if verdicts or gone:
            await self._stores.verdicts.put(verdicts, placed=gone)

    def _measure(self, began: float) -> None:
        metrics.CYCLE_SECONDS.observe(clock.monotonic() - began)
        metrics.PENDING.set(len(self._book))
        oldest = self._book.oldest
        metrics.OLDEST_PENDING.set(max(0.0, clock.now() - oldest) if oldest is not None else 0)
