"""Build the explanation of a pending task, with every reason: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from services.scheduler.placement.feasibility import Reason
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.reservation import Reservation
from services.scheduler.policies.view import Score
from services.scheduler.why_pending import node_verdicts
from services.scheduler.why_pending.node_verdicts import NodeVerdicts
from shared.models.pending_reason import OF_QUOTA, PendingReason
from shared.models.quota import Excess
from shared.models.work import Pending
from shared.units import durations

NEVER, WAITING = "never", "waiting"  #: verdicts

#: Reasons that all nodes give together and none of them alone.
_OF_ALL_NODES = frozenset({PendingReason.NEVER, PendingReason.FRAGMENTED, PendingReason.NO_NODES})
_FRAGMENTED = "the nodes have as much free together, but none of them alone"


@dataclass(frozen=True, slots=True)
class Facts:
    """
    The facts that explain why a task is pending, as of `now` (seconds since the epoch). `predecessors`: the state of
    each task that it depends on, by id. `array_limit`: how many children of its array may be placed, and how many are.
    `before`: how many tasks are offered to the nodes before it; None if the count was cut short.
    """

    now: float
    looked_at: float
    nodes: Sequence[NodeState]
    policy: str
    offered: int
    before: int | None = None
    score: Score | None = None
    hold: Reason | None = None
    in_maintenance: bool = False
    predecessors: Mapping[int, str] = field(default_factory=dict)
    excesses: Sequence[Excess] = ()
    array_limit: tuple[int, int] | None = None
    array_suspended: bool = False
    reservation: Reservation | None = None


def explain(task: Pending, facts: Facts) -> dict[str, Any]:
    """Return an `Explanation` of `services/api/wire/explanation.py`, ready for JSON."""
    verdicts = node_verdicts.collect(task, facts.nodes, facts.reservation)
    own = [*_gates(task, facts), *_quotas(facts), *_maintenance(facts)]
    named = {reason["code"] for reason in own}
    reasons = [*own, *(reason for reason in _of_nodes(verdicts) if reason["code"] not in named)] or [_turn(task, facts)]
    final = any(excess.final for excess in facts.excesses)
    kept = facts.reservation if facts.reservation and facts.reservation.task_id == task.id else None
    return {
        "status": "pending",
        "verdict": NEVER if final or verdicts.reason is PendingReason.NEVER else WAITING,
        "reasons": reasons,
        "nodes": [_node(verdict) for verdict in verdicts.nodes],
        "position": None if facts.before is None else facts.before + 1,
        "pending": facts.offered,
        "policy": facts.policy,
        "score": {**facts.score.parts, "total": facts.score.total} if facts.score else None,
        "reservation": {"node": kept.node, "start": kept.start, "text": kept.text} if kept else None,
        "judged_at": facts.now,
        "age": max(0.0, facts.now - facts.looked_at),
    }


def _gates(task: Pending, facts: Facts) -> Iterable[dict[str, Any]]:
    """Yield the reasons that keep the task from being offered to any node."""
    if facts.hold is not None:
        yield _reason(facts.hold.code, facts.hold.text, facts.hold.unblock)
    for task_id in task.waiting_on:
        where = facts.predecessors.get(task_id, "not made by its array yet")
        yield _reason(
            PendingReason.DEPENDENCY,
            f"it waits for task {task_id}, which is {where}",
            f"task {task_id} is over",
            task=task_id,
        )
    if task.not_before is not None and task.not_before > facts.now:
        left = task.not_before - facts.now
        yield _reason(
            PendingReason.DELAYED,
            f"it is started again in {durations.shown(left)}, after a failure",
            "the delay is over",
            need=left,
            unit="seconds",
        )
    array = task.id if task.array is not None else task.parent
    if facts.array_suspended:
        whose = "it" if task.array is not None else f"its array {array}"
        yield _reason(PendingReason.ARRAY_SUSPENDED, f"{whose} is suspended", f"task {array} is resumed")
    if facts.array_limit is not None and facts.array_limit[1] >= facts.array_limit[0]:
        most, placed = facts.array_limit
        yield _reason(
            PendingReason.ARRAY_LIMIT,
            f"{placed} of at most {most} children of array {array} are placed",
            f"a child of array {array} ends, or array.max_concurrent is raised",
            need=1,
            have=max(0, most - placed),
            total=most,
            unit="tasks",
        )


def _quotas(facts: Facts) -> Iterable[dict[str, Any]]:
    for excess in facts.excesses:
        unblock = (
            f"older usage of {excess.scope.key} leaves the window, or the quota is raised"
            if excess.final
            else f"tasks of {excess.scope.key} end using less, or the quota is raised"
        )
        yield _reason(
            OF_QUOTA[excess.scope.kind],
            excess.text,
            unblock,
            need=excess.need,
            have=max(0.0, excess.limit - excess.finished - excess.held),
            total=excess.limit,
            unit=excess.resource,
        )


def _maintenance(facts: Facts) -> Iterable[dict[str, Any]]:
    if facts.in_maintenance:
        yield _reason(
            PendingReason.MAINTENANCE, "the system is in maintenance: nothing is started", "the maintenance ends"
        )


def _of_nodes(verdicts: NodeVerdicts) -> Iterable[dict[str, Any]]:
    """
    Yield the reason of all nodes together, if it has a code of its own, and each node's reason from the best node for
    it.
    """
    if verdicts.reason is None:
        return
    if verdicts.reason in _OF_ALL_NODES:
        text = _FRAGMENTED if verdicts.reason is PendingReason.FRAGMENTED else verdicts.text
        yield _reason(verdicts.reason, text, None)
    never = verdicts.reason is PendingReason.NEVER
    best: dict[str, Any] = {}
    for verdict in verdicts.nodes:
        if verdict.ever is never:
            continue  # a node that could never take the task matters only where none could
        for reason in verdict.reasons:
            if never and reason.ever:
                continue
            known = best.get(reason.code)
            if known is None or (reason.have or 0) > (known.have or 0):
                best[reason.code] = reason
    for reason in best.values():
        yield _without_none(asdict(reason))


def _turn(task: Pending, facts: Facts) -> dict[str, Any]:
    """Explain a task that fits on a node and that nothing else holds."""
    if task.array is not None:
        text = f"an array is not placed itself: {task.array.made} of its {task.array.count} children are made so far"
        return _reason(PendingReason.CHILDREN, text, "its children are placed one by one")
    if facts.before:
        return _reason(
            PendingReason.TURN,
            f"a node has room, and {facts.before} tasks are offered one before it ({facts.policy})",
            "those before it are placed",
            need=facts.before,
            unit="tasks",
        )
    return _reason(PendingReason.NEXT, "a node has room: it is placed in the next cycle", "the next cycle")


def _node(verdict: node_verdicts.NodeVerdict) -> dict[str, Any]:
    return {
        "node": verdict.node,
        "fits": verdict.fits,
        "ever": verdict.ever,
        "reasons": [_without_none(asdict(reason)) for reason in verdict.reasons],
    }


def _reason(code: PendingReason, text: str, unblock: str | None, **numbers: Any) -> dict[str, Any]:
    return _without_none({"code": code, "text": text, "unblock": unblock, **numbers})


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
