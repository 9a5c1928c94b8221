"""One scheduling cycle: take in what is new, plan, commit the plan, say why the rest waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import structlog

from services.scheduler.cluster import Cluster
from services.scheduler.placement import planning
from services.scheduler.placement.backfill import Rules
from services.scheduler.placement.node_state import Allocation, NodeState
from services.scheduler.placement.planning import Arrays, Terms
from services.scheduler.placement.ranking import RANKINGS
from services.scheduler.placement.reservation import Reservation
from services.scheduler.policies.base import Policy
from services.scheduler.policies.usage_cache import Shares
from services.scheduler.queue.book import Book
from services.scheduler.start.dispatch import Dispatcher
from services.scheduler.why_pending.refresh import ShapeReasons
from shared import clock, errors
from shared.broker.broker import Broker
from shared.models.node import NEVER, StoredReason, owner_id, reason_ids
from shared.models.work import Pending
from shared.observe import metrics
from shared.settings import Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

PLACEMENTS = 500  #: in one plan: what one bulk write takes well
LOSSES = 5  #: placements of a task in a row that were not written, before it is set aside
_MOST_LOSERS = 10_000
QUEUE_READ = 2000  #: ids taken from the queue at a time


class Cycle:
    """The leader's cycle and what it needs between two of them."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        broker: Broker,
        book: Book,
        cluster: Cluster,
        dispatcher: Dispatcher,
        policy: Policy,
        shares: Shares,
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._broker = broker
        self._book = book
        self._cluster = cluster
        self._dispatcher = dispatcher
        self._policy = policy
        self._shares = shares
        self._shape_reasons = ShapeReasons()
        self._losses: Counter[int] = Counter()  # placements in a row that were not written, by task
        #: The node that is kept for the head of the queue, as the last pass left it.
        self.reservation: Reservation | None = None

    async def run(self, *, epoch: int) -> bool:
        """
        One cycle. True if there is more to do at once: the limit ended the pass, the queue holds more, tasks wait that were not
        told why, or a quota kept away what the pass had given room to. Raises `errors.StoreUnavailable`.
        """
        began = clock.monotonic()
        more = await self.read_queue()
        await self._take_released()
        nodes = self._cluster.snapshot()
        plan = self._plan(nodes)
        reasons, unexplained = self._shape_reasons.refresh(
            plan.unplaced, nodes, now=began, reservation=plan.reservation, all_were_offered=not plan.full
        )
        won = await self._commit(plan.placements, epoch)
        await self._record_reasons({**reasons, **self._reasons_of_held(plan.held)}, plan.placements)
        metrics.CYCLE_SECONDS.observe(clock.monotonic() - began)
        if plan.placements or reasons:
            # That something waits is said where it is asked for, and not again in each cycle.
            (log.info if plan.placements else log.debug)(
                "cycle.done",
                placed=len(won),
                lost=len(plan.placements) - len(won),
                shapes_waiting=len(plan.unplaced),
                pending=len(self._book),
                milliseconds=round((clock.monotonic() - began) * 1000, 1),
            )
        return more or plan.full or unexplained or self._is_room_back(plan.placements, won)

    @property
    def unplaced_shapes(self) -> Collection[str]:
        """The shapes that were offered to the nodes and found no room."""
        return self._shape_reasons.explained.keys()

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

    async def _take_released(self) -> None:
        released, self._dispatcher.released = self._dispatcher.released, []
        self._cluster.release(released)
        for node, ports, until in self._dispatcher.taken_ports:
            self._cluster.shun(node, ports, until=until)
        self._dispatcher.taken_ports.clear()
        if undone := self._dispatcher.undone:
            self._dispatcher.undone = []
            self._book.add(await self._stores.work.pending_of(undone))

    def _plan(self, nodes: Sequence[NodeState]) -> planning.Plan:
        now = clock.now()
        self._book.ripen(now)
        if self.reservation is not None and self.reservation.task_id not in self._book:
            self.reservation = None  # of one that was killed, for example
        self._cluster.forgive(now)
        self._dispatcher.quotas.let_go()
        policy = self._policy.begin(self._book.lanes, self._shares.view(now))
        plan = planning.plan(policy, nodes, limit=PLACEMENTS, terms=self._terms(now))
        if plan.reservation is not None or not plan.full:
            self.reservation = plan.reservation
        return plan

    def _terms(self, now: float) -> Terms:
        limits = self._book.limits
        return Terms(
            ranking=RANKINGS[self._settings.placement],
            rules=Rules(now, self._settings.reserve_after, self._settings.maxlifespan, self.reservation),
            arrays=Arrays(limits, self._cluster.children(limits)),
            is_held=self._is_held,
        )

    def _is_held(self, task: Pending) -> bool:
        return self._dispatcher.quotas.is_held(task) or self._dispatcher.owners.is_held(task)

    async def _commit(self, placements: Sequence[planning.Placement], epoch: int) -> set[int]:
        if not placements:
            return set()
        # Allocated before the write: if its answer is lost, what it did counts until the audit has looked.
        tasks = [placed.task for placed in placements]
        before = {
            task.id: self._cluster.allocate(task.id, task.attempt + 1, placed.given)
            for task, placed in zip(tasks, placements, strict=True)
        }
        self._book.take(tasks)
        try:
            won = await self._dispatcher.commit(placements, epoch=epoch)
        except errors.StoreUnavailable:
            # Some may be placed and some not: those that are lose the next compare-and-set, the others must not
            # wait for the next full look at the book.
            self._book.give_back(tasks)
            self._book.add(tasks)
            raise
        finally:
            self._cluster.written((placed.task.id, placed.task.attempt + 1) for placed in placements)
        if self._policy.needs_shares:
            self._shares.charge(placed.task for placed in placements if placed.task.id in won)
        lost = [placed.task for placed in placements if placed.task.id not in won]
        if lost:
            self._take_back(lost, before)
            self._book.give_back(lost)
            # A quota or an owner that holds a task says so itself, for as long as it does: that is no loss.
            held = [task.id for task in lost if self._is_held(task)]
            again = [*held, *self._worth_another([task.id for task in lost if task.id not in set(held)], won)]
            self._book.add(await self._stores.work.pending_of(again))
        return won

    def _worth_another(self, lost: Sequence[int], won: Collection[int]) -> list[int]:
        """
        Those of `lost` that are entered again at once. One that loses again and again, because its document takes no such
        write, waits for the audit to enter it: else there would be no end of cycles.
        """
        for task_id in won:
            self._losses.pop(task_id, None)
        self._losses.update(lost)
        for task_id in lost:
            if self._losses[task_id] == LOSSES:
                log.error("task.not_placeable", task_id=task_id, losses=LOSSES)
        if len(self._losses) > _MOST_LOSERS:
            self._losses.clear()
        return [task_id for task_id in lost if self._losses[task_id] < LOSSES]

    def _take_back(self, lost: Sequence[Pending], before: Mapping[int, Allocation | None]) -> None:
        """Release what these were to get. One that lost against a write of ours whose answer was lost holds what that gave it."""
        for task in lost:
            if held := before[task.id]:
                self._cluster.restore(task.id, task.attempt + 1, held)
            else:
                self._cluster.release([(task.id, task.attempt + 1)])

    def _is_room_back(self, placements: Sequence[planning.Placement], won: Collection[int]) -> bool:
        """Whether some were not let through after all: others have the room, and are held by nothing."""
        return any(self._is_held(placed.task) for placed in placements if placed.task.id not in won)

    def _reasons_of_held(self, held: Sequence[Pending]) -> dict[str, str]:
        """
        Why lanes wait whatever room there is: nothing of their owners is started, a quota of theirs is full, or their array has
        as many placed as it may.
        """
        reasons = {scope.key: reason for scope, reason in self._dispatcher.quotas.held.items()}
        for task in held:
            if hold := self._dispatcher.owners.why(task):
                reasons[owner_id(task.user, task.project)] = hold.text
            elif task.parent in self._book.limits and not self._dispatcher.quotas.is_held(task):
                most = self._book.limits[task.parent]
                reasons[f"array {task.parent}"] = (
                    f"{most} children of array {task.parent} are placed, as many as may be"
                )
        return reasons

    async def _record_reasons(self, reasons: Mapping[str, str], placements: Sequence[planning.Placement]) -> None:
        now = clock.now()
        verdicts = [StoredReason(id=whose, reason=_told(reason), at=now) for whose, reason in reasons.items()]
        tasks = [placed.task for placed in placements]
        concerned = {name for task in tasks for name in reason_ids(task.shape, task.user, task.project, task.parent)}
        gone = concerned - reasons.keys() - self._shape_reasons.explained.keys()
        if verdicts or gone:
            await self._stores.pending_reasons.put(verdicts, placed=gone)


def _told(reason: str) -> str:
    """The reason as it stands beside `rejected by scheduler`, which sounds as if there was nothing to wait for."""
    return reason if reason.startswith(NEVER) else f"cannot be placed yet: {reason}"
