"""Convert between the node reports of executors and the stored nodes: pure."""

from __future__ import annotations

from collections.abc import Iterable

from shared.executors.types import NodeReport
from shared.models.node import Node


def stored(report: NodeReport, *, now: float) -> Node:
    """Return the document of a node that was asked at `now`."""
    return Node(
        id=report.name,
        executor=report.executor,
        ready=report.ready,
        reason=report.reason,
        cpus=report.cpus,
        memory=report.memory,
        disk_used=report.disk_used,
        disk_total=report.disk_total,
        gpus=list(report.gpus),
        labels=dict(report.labels),
        version=report.version,
        checked_at=now,
        seen_at=now if report.answered else None,
        engine_cpus=report.engine_cpus,
        engine_memory=report.engine_memory,
    )


def reports(nodes: Iterable[Node]) -> list[NodeReport]:
    """Return the last known sizes of nodes, without those that never answered or were stored without sizes."""
    restored = (_report(node) for node in nodes if node.seen_at is not None)
    return [report for report in restored if report.is_measured]


def _report(node: Node) -> NodeReport:
    return NodeReport(
        name=node.id,
        executor=node.executor,
        ready=False,
        reason="it was not asked yet",
        cpus=node.cpus,
        memory=node.memory,
        disk_used=node.disk_used,
        disk_total=node.disk_total,
        gpus=tuple(node.gpus),
        labels=node.labels,
        version=node.version,
    )
