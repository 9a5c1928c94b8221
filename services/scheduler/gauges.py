"""Update the gauges of the whole system, which the leader exports."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from services.scheduler.cluster import Cluster
from services.scheduler.cycle import Cycle
from services.scheduler.owners import Owners
from services.scheduler.placement.node_state import IN_MAINTENANCE, NodeState
from services.scheduler.queue.book import Book
from services.scheduler.quota_gate import QuotaGate
from services.scheduler.why_pending import counts
from shared import clock
from shared.executors.types import NodeReport
from shared.models.pending_reason import PendingReason
from shared.models.work import Pending
from shared.observe import metrics
from shared.store.system.census import CensusStore

_OF_NODES = (
    metrics.NODE_READY,
    metrics.NODE_UNWELL,
    metrics.NODE_MAINTENANCE,
    metrics.NODE_CPUS,
    metrics.NODE_MEMORY,
    metrics.NODE_GPUS,
    metrics.NODE_DISK,
    metrics.NODE_CLOCK,
)
_OF_TASKS = (metrics.TASKS, metrics.PENDING, metrics.OLDEST_PENDING)


class Gauges:
    """Sets gauges from the leader's book, its nodes and the stores."""

    def __init__(
        self, store: CensusStore, book: Book, cluster: Cluster, cycle: Cycle, quotas: QuotaGate, owners: Owners
    ) -> None:
        self._store = store
        self._book = book
        self._cluster = cluster
        self._cycle = cycle
        self._quotas = quotas
        self._owners = owners

    def clear(self) -> None:
        """Remove all values: another scheduler leads, and these are old."""
        metrics.clear(*_OF_NODES, *_OF_TASKS)

    async def update(self) -> None:
        """Set every gauge. Raises `errors.StoreUnavailable`, after the gauges that need no store were set."""
        nodes = self._cluster.snapshot()
        _show_nodes(nodes, self._cluster.reports, self._cluster.failing)
        self._show_pending(nodes)
        for status, count in (await self._store.active()).items():
            metrics.TASKS.labels(status).set(count)
        backlog = await self._store.backlog()
        metrics.OUTBOX.set(backlog.mails)
        metrics.OUTBOX_OLDEST.set(_age(backlog.since))

    def _show_pending(self, nodes: Sequence[NodeState]) -> None:
        pending = counts.count(
            self._book,
            nodes,
            unplaced=self._cycle.unplaced_shapes,
            placed=self._cluster.children(self._book.limits),
            hold=self._hold,
            reservation=self._cycle.reservation,
        )
        for reason, count in pending.items():
            metrics.PENDING.labels(reason).set(count.tasks)
            metrics.OLDEST_PENDING.labels(reason).set(_age(count.since))

    def _hold(self, task: Pending) -> PendingReason | None:
        owner = self._owners.why(task)
        return owner.code if owner is not None else self._quotas.reason(task)


def _show_nodes(nodes: Sequence[NodeState], reports: Sequence[NodeReport], failing: Collection[str]) -> None:
    metrics.clear(*_OF_NODES)  # a removed node is not exported any more
    for node in nodes:
        metrics.NODE_READY.labels(node.name).set(node.ready)
        metrics.NODE_MAINTENANCE.labels(node.name).set(node.reason == IN_MAINTENANCE)
        if not node.seen:
            continue  # its sizes are not known
        for gauge, total, free in (
            (metrics.NODE_CPUS, node.cpus, node.free_cpus),
            (metrics.NODE_MEMORY, node.memory, node.free_memory),
            (metrics.NODE_GPUS, node.gpus, len(node.free_gpus)),
        ):
            gauge.labels(node.name, "total").set(total)
            gauge.labels(node.name, "used").set(total - free)
    for where in failing:
        metrics.NODE_UNWELL.labels(where).set(1)
    for report in reports:
        metrics.NODE_DISK.labels(report.name, "total").set(report.disk_total)
        metrics.NODE_DISK.labels(report.name, "used").set(report.disk_used)
        metrics.NODE_CLOCK.labels(report.name).set(report.clock_ahead)


def _age(since: float | None) -> float:
    return max(0.0, clock.now() - since) if since is not None else 0.0
