"""Every reason why a task waits, as it is told to whoever asks: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from services.scheduler.owners import Hold
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.reservation import Reservation
from services.scheduler.policies.view import Score
from services.scheduler.why_pending import node_verdicts
from services.scheduler.why_pending.node_verdicts import Judgement, Outcome
from shared.models.quota import Excess
from shared.models.work import Pending
from shared.units import durations

NEVER, WAITING = "never", "waiting"  #: verdicts

_TOLD_APART = {
    Outcome.NEVER: ("never", "as the nodes are it can never run here"),
    Outcome.FRAGMENTED: ("fragmented", "the nodes have as much free together, but none of them alone"),
    Outcome.NO_NODES: ("no_nodes", "there are no nodes"),
}


@dataclass(frozen=True, slots=True)
class Situation:
    """
    What a task's waiting depends on, at `now` (seconds since the epoch). `predecessors` are those it waits for, by id, each with
    where it is; `array_limit` is how many children of its array may hold resources and how many do; `before` is how many
    tasks would be offered to nodes before it, None where that was not counted to the end.
    """

    now: float
    looked_at: float
    nodes: Sequence[NodeState]
    policy: str
    offered: int
    before: int | None = None
    score: Score | None = None
    hold: Hold | None = None
    in_maintenance: bool = False
    predecessors: Mapping[int, str] = field(default_factory=dict)
    excesses: Sequence[Excess] = ()
    array_limit: tuple[int, int] | None = None
    array_suspended: bool = False
    reservation: Reservation | None = None


def explain(task: Pending, situation: Situation) -> dict[str, Any]:
    """The explanation of `services/api/wire/explanation.py`, as JSON takes it."""
    judged = node_verdicts.judge(task, situation.nodes, situation.reservation)
    own = [*_gates(task, situation), *_quotas(situation), *_maintenance(situation)]
    named = {reason["code"] for reason in own}
    reasons = [*own, *(reason for reason in _of_nodes(judged) if reason["code"] not in named)] or [
        _turn(task, situation)
    ]
    final = any(excess.final for excess in situation.excesses)
    kept = situation.reservation if situation.reservation and situation.reservation.task_id == task.id else None
    return {
        "status": "pending",
        "verdict": NEVER if final or judged.outcome is Outcome.NEVER else WAITING,
        "reasons": reasons,
        "nodes": [_node(verdict) for verdict in judged.nodes],
        "position": None if situation.before is None else situation.before + 1,
        "pending": situation.offered,
        "policy": situation.policy,
        "score": {**situation.score.parts, "total": situation.score.total} if situation.score else None,
        "reservation": {"node": kept.node, "start": kept.start, "text": kept.text} if kept else None,
        "judged_at": situation.now,
        "age": max(0.0, situation.now - situation.looked_at),
    }


def _gates(task: Pending, situation: Situation) -> Iterable[dict[str, Any]]:
    """What keeps it from being offered to any node."""
    if situation.hold is not None:
        yield _reason(situation.hold.code, situation.hold.text, situation.hold.unblock)
    for task_id in task.waiting_on:
        where = situation.predecessors.get(task_id, "not made by its array yet")
        yield _reason(
            "dependency", f"it waits for task {task_id}, which is {where}", f"task {task_id} is over", task=task_id
        )
    if task.not_before is not None and task.not_before > situation.now:
        left = task.not_before - situation.now
        yield _reason(
            "delayed",
            f"it is started again in {durations.shown(left)}, after a failure",
            "the delay is over",
            need=left,
            unit="seconds",
        )
    array = task.id if task.array is not None else task.parent
    if situation.array_suspended:
        whose = "it" if task.array is not None else f"its array {array}"
        yield _reason("array_suspended", f"{whose} is suspended", f"task {array} is resumed")
    if situation.array_limit is not None and situation.array_limit[1] >= situation.array_limit[0]:
        most, placed = situation.array_limit
        yield _reason(
            "array_limit",
            f"{placed} of at most {most} children of array {array} are placed",
            f"a child of array {array} ends, or array.max_concurrent is raised",
            need=1,
            have=max(0, most - placed),
            total=most,
            unit="tasks",
        )


def _quotas(situation: Situation) -> Iterable[dict[str, Any]]:
    for excess in situation.excesses:
        unblock = (
            f"older usage of {excess.scope.key} leaves the window, or the quota is raised"
            if excess.final
            else f"tasks of {excess.scope.key} end using less, or the quota is raised"
        )
        yield _reason(
            f"{excess.scope.kind}_quota",
            excess.text,
            unblock,
            need=excess.need,
            have=max(0.0, excess.limit - excess.finished - excess.held),
            total=excess.limit,
            unit=excess.resource,
        )


def _maintenance(situation: Situation) -> Iterable[dict[str, Any]]:
    if situation.in_maintenance:
        yield _reason("maintenance", "the system is in maintenance: nothing is started", "the maintenance ends")


def _of_nodes(judged: Judgement) -> Iterable[dict[str, Any]]:
    """What the nodes say, all of them together: the outcome where it has a name, and each kind of reason at its best node."""
    if judged.outcome is Outcome.FITS:
        return
    if judged.outcome in _TOLD_APART:
        code, text = _TOLD_APART[judged.outcome]
        yield _reason(code, judged.text if judged.outcome is not Outcome.FRAGMENTED else text, None)
    never = judged.outcome is Outcome.NEVER
    best: dict[str, Any] = {}
    for verdict in judged.nodes:
        if verdict.ever is never:
            continue  # of nodes that could never take it, it is of interest why only where that is true of all
        for reason in verdict.reasons:
            if never and reason.ever:
                continue
            known = best.get(reason.code)
            if known is None or (reason.have or 0) > (known.have or 0):
                best[reason.code] = reason
    for reason in best.values():
        yield _without_nothing(asdict(reason))


def _turn(task: Pending, situation: Situation) -> dict[str, Any]:
    """A node has room for it, and nothing else is in the way."""
    if task.array is not None:
        text = f"an array is not placed itself: {task.array.made} of its {task.array.count} children are made so far"
        return _reason("children", text, "its children are placed one by one")
    if situation.before:
        return _reason(
            "turn",
            f"a node has room, and {situation.before} tasks are offered one before it ({situation.policy})",
            "those before it are placed",
            need=situation.before,
            unit="tasks",
        )
    return _reason("next", "a node has room: it is placed in the next cycle", "the next cycle")


def _node(verdict: node_verdicts.NodeVerdict) -> dict[str, Any]:
    return {
        "node": verdict.node,
        "fits": verdict.fits,
        "ever": verdict.ever,
        "reasons": [_without_nothing(asdict(reason)) for reason in verdict.reasons],
    }


def _reason(code: str, text: str, unblock: str | None, **numbers: Any) -> dict[str, Any]:
    return _without_nothing({"code": code, "text": text, "unblock": unblock, **numbers})


def _without_nothing(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
