"""Explain the state of a task: why it is pending, or how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from services.api.answers import capped, last_lines
from services.api.context import Context
from services.api.wire import task as wire
from services.api.wire.explanation import StateCode, Verdict
from shared import clock, errors
from shared.lifecycle import ENDED, PLACED, WAITING, Intent, TaskStatus
from shared.models.pending_reason import PendingReason
from shared.models.task import Task
from shared.store.tasks import work

_MAX_LIMITED = 3  #: nodes whose lowered limits a dry run names


async def of_task(context: Context, task: Task) -> dict[str, Any]:
    """Return the current explanation of `task`. Raises `errors.StoreUnavailable`."""
    if task.status is TaskStatus.PENDING and not _runs(task) and task.intent is not Intent.KILL:
        explanation = await _from_scheduler(context, task)
        if explanation is not None:
            return {"id": task.id, **explanation}
        # It was placed or killed between our read and the scheduler's.
        task = await context.stores.views.get(task.id) or task
    return await _without_scheduler(context, task)


async def _without_scheduler(context: Context, task: Task) -> dict[str, Any]:
    now = clock.now()
    if task.status in ENDED:
        return await _over(context, task, now)
    reasons = await context.pending_reasons([task])
    nodes = await context.unreachable_nodes([task])
    unreachable = nodes.get(task.placement.node) if task.placement else None
    # The same words as in the status, so that the two never contradict each other.
    text = (
        wire.reason(task, pending_reason=reasons.get(task.id), unreachable=unreachable)
        or f"the task is {task.status.value}"
    )
    return {
        "id": task.id,
        "status": wire.status(task, pending_reason=None)["primary"],
        "verdict": _verdict(task),
        "reasons": [
            await _kill(context, task) if _is_killed_waiting(task) else _reason(task, text),
            *await _limited(context, task),
        ],
        "judged_at": now,
        "age": 0.0,
    }


async def _limited(context: Context, task: Task) -> list[dict[str, Any]]:
    if task.placement is None or task.status not in PLACED:
        return []
    nodes = [node for node in await context.nodes.get() if node.id == task.placement.node]
    return [{"code": StateCode.LIMITED, "text": text} for node in nodes if (text := capped.sentence(task, node))]


async def _over(context: Context, task: Task, now: float) -> dict[str, Any]:
    lines = await last_lines.of_errors(context, task)
    parts = [_end(task), f"the last lines of {last_lines.FILE}:\n{lines}"] if lines else [_end(task)]
    return {
        "id": task.id,
        "status": wire.status(task, pending_reason=None)["primary"],
        "verdict": Verdict.OVER,
        "reasons": [{"code": task.ending or StateCode.OVER, "text": "; ".join(parts)}],
        "exitcode": task.exit_code,
        "judged_at": now,
        "age": 0.0,
    }


def _end(task: Task) -> str:
    """Return how a task ended, in one sentence with its exit code if there is one."""
    if task.exit_code is None:
        return task.reason or "the task is over"
    if task.reason is None:
        return f"exited with code {task.exit_code}"
    code = f"exit code {task.exit_code}"
    return task.reason if code in task.reason else f"{task.reason}; {code}"


async def of_unsent(context: Context, task: Task) -> dict[str, Any]:
    """Return why a task that was admitted but not stored would wait. Raises `errors.SchedulerUnavailable`."""
    # For an array, explain its first child.
    one = replace(work.pending_from(task), array=None)
    explanation = await context.scheduler.explain_unsent(asdict(one))
    limited = await _limited_somewhere(context, task, explanation.get("nodes", ()))
    return explanation | {"reasons": [*explanation["reasons"], *limited]}


async def _limited_somewhere(
    context: Context, task: Task, verdicts: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the limits of an unplaced task that nodes would lower: nodes that could run it now, or else ever."""
    places = {one["node"] for one in verdicts if one["fits"]} or {one["node"] for one in verdicts if one["ever"]}
    nodes = [node for node in await context.nodes.get() if node.id in places] if places else []
    texts = [text for node in nodes if (text := capped.sentence(task, node))]
    return [{"code": StateCode.LIMITED, "text": text} for text in texts[:_MAX_LIMITED]]


async def _from_scheduler(context: Context, task: Task) -> dict[str, Any] | None:
    try:
        return await context.scheduler.explain(task.id)
    except errors.SchedulerUnavailable as error:
        # The reason that the last scheduler stored is older, but better than nothing.
        stored = (await context.pending_reasons([task])).get(task.id)
        reasons = [{"code": PendingReason.NO_SCHEDULER, "text": str(error), "unblock": "a scheduler takes the lead"}]
        if stored is not None:
            reasons.append({"code": PendingReason.LAST_VERDICT, "text": stored.reason})
        return {
            "status": "pending",
            "verdict": Verdict.WAITING,
            "reasons": reasons,
            "judged_at": stored.at if stored else clock.now(),
            "age": max(0.0, clock.now() - stored.at) if stored else 0.0,
        }


def _verdict(task: Task) -> Verdict:
    if _runs(task):
        return Verdict.RUNNING
    return Verdict.STARTING if task.status is TaskStatus.STARTING else Verdict.WAITING


def _runs(task: Task) -> bool:
    # The parent of an array is stored as pending while its children run.
    return wire.primary(task) == TaskStatus.RUNNING


def _is_killed_waiting(task: Task) -> bool:
    """Return whether the task has a kill intent and nothing of it runs."""
    return task.status in WAITING and not _runs(task) and task.intent is Intent.KILL


async def _kill(context: Context, task: Task) -> dict[str, Any]:
    unblock = "a watcher records its end, within seconds"
    if task.member is not None and not await context.stores.views.is_stored(task.id):
        unblock = f"its turn in array {task.member.parent} comes: it ends then"
    text = "it is to be killed and is no longer started"
    return {"code": PendingReason.KILL_REQUESTED, "text": text, "unblock": unblock}


def _reason(task: Task, text: str) -> dict[str, Any]:
    if _runs(task):
        return {"code": StateCode.RUNNING, "text": text}
    match task.status:
        case TaskStatus.PENDING:
            # Not stored yet: the scheduler knows every stored pending task.
            unblock = "the children before it in its array are placed"
            return {"code": PendingReason.NOT_MADE, "text": text, "unblock": unblock}
        case TaskStatus.CREATED:
            unblock = f"GET /api/1.0/task/{task.id}/pending"
            return {"code": PendingReason.HELD_BY_OWNER, "text": text, "unblock": unblock}
    return {"code": StateCode(task.status), "text": text}
