"""Run one scheduling cycle: read new tasks, plan, commit the plan, record the pending reasons of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import structlog

from services.scheduler.cluster import Cluster
from services.scheduler.owners import Owners
from services.scheduler.placement import planning
from services.scheduler.placement.backfill import Rules
from services.scheduler.placement.node_state import Allocation, NodeState
from services.scheduler.placement.planning import Arrays, Terms
from services.scheduler.placement.ranking import RANKINGS
from services.scheduler.placement.reservation import Reservation
from services.scheduler.policies.base import Policy
from services.scheduler.policies.usage_cache import UsageCache
from services.scheduler.queue.book import Book
from services.scheduler.quota_gate import QuotaGate
from services.scheduler.start.dispatch import Dispatcher
from services.scheduler.start.results import PortsTaken, Released, Results, Undone
from services.scheduler.why_pending.refresh import ShapeReasons
from shared import clock, errors
from shared.broker.broker import Broker
from shared.models.node import NEVER, StoredReason, owner_id, reason_ids
from shared.models.work import Pending
from shared.observe import metrics
from shared.settings import Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

PLACEMENTS = 500  #: in one plan: as many as one bulk write takes well
LOSSES = 5  #: placements of a task in a row that may be lost before it is left to the audit
_MOST_LOSERS = 10_000
QUEUE_READ = 2000  #: ids taken from the queue at a time


class Cycle:
    """The leader's cycle, with its state between two runs."""

    def __init__(
        self,
        settings: Settings,
        stores: Stores,
        broker: Broker,
        book: Book,
        cluster: Cluster,
        dispatcher: Dispatcher,
        results: Results,
        quotas: QuotaGate,
        owners: Owners,
        policy: Policy,
        usage: UsageCache,
    ) -> None:
        self._settings = settings
        self._stores = stores
        self._broker = broker
        self._book = book
        self._cluster = cluster
        self._dispatcher = dispatcher
        self._results = results
        self._quotas = quotas
        self._owners = owners
        self._policy = policy
        self._usage = usage
        self._shape_reasons = ShapeReasons()
        self._losses: Counter[int] = Counter()  # lost placements in a row, by task
        #: The reservation for the head of the queue, as the last pass left it.
        self.reservation: Reservation | None = None

    async def run(self, *, epoch: int) -> bool:
        """
        Run one cycle. True if there is more to do at once: the limit ended the pass, the queue holds more, shapes have
        no pending reason yet, or a quota freed room by rejecting placements. Raises `errors.StoreUnavailable`.
        """
        began = clock.monotonic()
        more = await self.read_queue()
        await self._apply_results()
        nodes = self._cluster.snapshot()
        plan = self._plan(nodes)
        reasons, unexplained = self._shape_reasons.refresh(
            plan.unplaced, nodes, now=began, reservation=plan.reservation, all_were_offered=not plan.full
        )
        won = await self._commit(plan.placements, epoch)
        await self._record_reasons({**reasons, **self._reasons_of_held(plan.held)}, plan.placements)
        metrics.CYCLE_SECONDS.observe(clock.monotonic() - began)
        if plan.placements or reasons:
            # Pending reasons are stored; a line at the level info in each cycle would only repeat them.
            (log.info if plan.placements else log.debug)(
                "cycle.done",
                placed=len(won),
                lost=len(plan.placements) - len(won),
                shapes_waiting=len(plan.unplaced),
                pending=len(self._book),
                milliseconds=round((clock.monotonic() - began) * 1000, 1),
            )
        return more or plan.full or unexplained or self._has_room_again(plan.placements, won)

    @property
    def unplaced_shapes(self) -> Collection[str]:
        """The shapes that were offered to the nodes and found no room."""
        return self._shape_reasons.explained.keys()

    async def read_queue(self) -> bool:
        """Read tasks named by the queue into the book. True if the queue may hold more."""
        try:
            ids = await self._broker.dequeue(QUEUE_READ)
        except errors.BrokerUnavailable as error:
            log.warning("cycle.no_queue", error=str(error))  # the poll finds the tasks
            return False
        if ids:
            self._book.add(await self._stores.work.pending_of(ids))
        return len(ids) == QUEUE_READ

    async def _apply_results(self) -> None:
        """Apply the results of starts to the cluster and the book."""
        undone = []
        for result in self._results.drain():
            match result:
                case Released(task_id, attempt):
                    self._cluster.release([(task_id, attempt)])
                case PortsTaken(node, ports, until):
                    self._cluster.shun(node, ports, until=until)
                case Undone(task_id):
                    undone.append(task_id)
        if undone:
            self._book.add(await self._stores.work.pending_of(undone))

    def _plan(self, nodes: Sequence[NodeState]) -> planning.Plan:
        now = clock.now()
        self._book.ripen(now)
        if self.reservation is not None and self.reservation.task_id not in self._book:
            self.reservation = None  # its task was killed, for example
        self._cluster.forgive(now)
        self._quotas.expire()
        policy = self._policy.begin(self._book.lanes, self._usage.view(now))
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
        return self._quotas.is_held(task) or self._owners.is_held(task)

    async def _commit(self, placements: Sequence[planning.Placement], epoch: int) -> set[int]:
        if not placements:
            return set()
        # Allocated before the write: if its answer is lost, the allocations stay until the audit has read the result.
        tasks = [placed.task for placed in placements]
        before = {
            task.id: self._cluster.allocate(task.id, task.attempt + 1, placed.given)
            for task, placed in zip(tasks, placements, strict=True)
        }
        self._book.take(tasks)
        try:
            won = await self._dispatcher.commit(placements, epoch=epoch)
        except errors.StoreUnavailable:
            # Some may be placed and some not. The placed ones lose the next compare-and-set; the others must not
            # wait for the next full audit of the book.
            self._book.give_back(tasks)
            self._book.add(tasks)
            raise
        finally:
            self._cluster.written((placed.task.id, placed.task.attempt + 1) for placed in placements)
        if self._policy.needs_shares:
            self._usage.charge(placed.task for placed in placements if placed.task.id in won)
        lost = [placed.task for placed in placements if placed.task.id not in won]
        if lost:
            self._take_back(lost, before)
            self._book.give_back(lost)
            # A placement that a quota or an owner holds is not counted as lost.
            held = [task.id for task in lost if self._is_held(task)]
            again = [*held, *self._to_retry([task.id for task in lost if task.id not in set(held)], won)]
            self._book.add(await self._stores.work.pending_of(again))
        return won

    def _to_retry(self, lost: Sequence[int], won: Collection[int]) -> list[int]:
        """
        Return the tasks of `lost` to read again at once. A task that keeps losing, because its document rejects the
        write, is left to the audit: otherwise cycles would never end.
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
        """
        Release the allocations of lost placements. A task that an earlier write placed, whose answer was lost, keeps
        that one.
        """
        for task in lost:
            if held := before[task.id]:
                self._cluster.restore(task.id, task.attempt + 1, held)
            else:
                self._cluster.release([(task.id, task.attempt + 1)])

    def _has_room_again(self, placements: Sequence[planning.Placement], won: Collection[int]) -> bool:
        """Check whether held placements were rejected: others can use their room at once."""
        return any(self._is_held(placed.task) for placed in placements if placed.task.id not in won)

    def _reasons_of_held(self, held: Sequence[Pending]) -> dict[str, str]:
        """
        Return the pending reasons of lanes that are held whatever room there is: by their owner, by a full quota, or by
        the limit of their array.
        """
        reasons = {scope.key: reason for scope, reason in self._quotas.held.items()}
        for task in held:
            if hold := self._owners.why(task):
                reasons[owner_id(task.user, task.project)] = hold.text
            elif task.parent in self._book.limits and not self._quotas.is_held(task):
                most = self._book.limits[task.parent]
                reasons[f"array {task.parent}"] = (
                    f"{most} children of array {task.parent} are placed, as many as may be"
                )
        return reasons

    async def _record_reasons(self, reasons: Mapping[str, str], placements: Sequence[planning.Placement]) -> None:
        now = clock.now()
        stored = [StoredReason(id=subject, reason=_sentence(reason), at=now) for subject, reason in reasons.items()]
        tasks = [placed.task for placed in placements]
        subjects = {name for task in tasks for name in reason_ids(task.shape, task.user, task.project, task.parent)}
        gone = subjects - reasons.keys() - self._shape_reasons.explained.keys()
        if stored or gone:
            await self._stores.pending_reasons.put(stored, placed=gone)


def _sentence(reason: str) -> str:
    """Return the reason as shown beside `rejected by scheduler`, which alone would sound final."""
    return reason if reason.startswith(NEVER) else f"cannot be placed yet: {reason}"
