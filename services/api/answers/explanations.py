"""Explain where a task is, and why it is not further."""

from __future__ import annotations

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


async def of_task(here: Context, task: Task) -> dict[str, Any]:
    """Why `task` is where it is, at this moment. Raises `errors.StoreUnavailable`."""
    if task.status is TaskStatus.PENDING and not _runs(task) and task.intent is not Intent.KILL:
        found = await _asked(here, task)
        if found is not None:
            return {"id": task.id, **found}
        # It was placed, or killed, between our look and the scheduler's.
        task = await here.stores.views.get(task.id) or task
    return await _without_scheduler(here, task)


async def _without_scheduler(here: Context, task: Task) -> dict[str, Any]:
    now = clock.now()
    if task.status in ENDED:
        return await _over(here, task, now)
    verdicts = await here.verdicts([task])
    silences = await here.silences([task])
    silence = silences.get(task.placement.node) if task.placement else None
    # The words of the status, so that nobody is told two things of one task.
    text = wire.reason(task, verdict=verdicts.get(task.id), silence=silence) or f"the task is {task.status.value}"
    return {
        "id": task.id,
        "status": wire.status(task, verdict=None)["primary"],
        "verdict": _verdict(task),
        "reasons": [
            await _kill(here, task) if _is_not_begun(task) else _reason(task, text),
            *await _limited(here, task),
        ],
        "judged_at": now,
        "age": 0.0,
    }


async def _limited(here: Context, task: Task) -> list[dict[str, Any]]:
    if task.placement is None or task.status not in PLACED:
        return []
    nodes = [node for node in await here.nodes.get() if node.id == task.placement.node]
    return [{"code": StateCode.LIMITED, "text": text} for node in nodes if (text := capped.sentence(task, node))]


async def _over(here: Context, task: Task, now: float) -> dict[str, Any]:
    lines = await last_lines.of_errors(here, task)
    said = [_end(task), f"the last lines of {last_lines.FILE}:\n{lines}"] if lines else [_end(task)]
    return {
        "id": task.id,
        "status": wire.status(task, verdict=None)["primary"],
        "verdict": Verdict.OVER,
        "reasons": [{"code": task.ending or StateCode.OVER, "text": "; ".join(said)}],
        "exitcode": task.exit_code,
        "judged_at": now,
        "age": 0.0,
    }


def _end(task: Task) -> str:
    """How a task ended, in one sentence that has the exit code, if there is one."""
    if task.exit_code is None:
        return task.reason or "the task is over"
    if task.reason is None:
        return f"exited with code {task.exit_code}"
    code = f"exit code {task.exit_code}"
    return task.reason if code in task.reason else f"{task.reason}; {code}"


async def of_unsent(here: Context, task: Task) -> dict[str, Any]:
    """Why a task that was admitted and not stored would wait. Raises `errors.SchedulerUnavailable`."""
    # Of an array: why its first child would.
    one = replace(work.pending_from(task), array=None)
    return await here.scheduler.explain_unsent(asdict(one))


async def _asked(here: Context, task: Task) -> dict[str, Any] | None:
    try:
        return await here.scheduler.explain(task.id)
    except errors.SchedulerUnavailable as error:
        # What the last one wrote down is older, and better than nothing.
        verdict = (await here.verdicts([task])).get(task.id)
        reasons = [{"code": PendingReason.NO_SCHEDULER, "text": str(error), "unblock": "a scheduler takes the lead"}]
        if verdict is not None:
            reasons.append({"code": PendingReason.LAST_VERDICT, "text": verdict.reason})
        return {
            "status": "pending",
            "verdict": Verdict.WAITING,
            "reasons": reasons,
            "judged_at": verdict.at if verdict else clock.now(),
            "age": max(0.0, clock.now() - verdict.at) if verdict else 0.0,
        }


def _verdict(task: Task) -> Verdict:
    if _runs(task):
        return Verdict.RUNNING
    return Verdict.STARTING if task.status is TaskStatus.STARTING else Verdict.WAITING


def _runs(task: Task) -> bool:
    # The parent of an array is pending as it is stored.
    return wire.primary(task) == TaskStatus.RUNNING


def _is_not_begun(task: Task) -> bool:
    """Whether it is to be killed, and nothing of it runs."""
    return task.status in WAITING and not _runs(task) and task.intent is Intent.KILL


async def _kill(here: Context, task: Task) -> dict[str, Any]:
    unblock = "a watcher records its end, within seconds"
    if task.member is not None and not await here.stores.views.is_stored(task.id):
        unblock = f"its turn in array {task.member.parent} comes: it ends then"
    text = "it is to be killed, and is not started any more"
    return {"code": PendingReason.KILL_REQUESTED, "text": text, "unblock": unblock}


def _reason(task: Task, text: str) -> dict[str, Any]:
    if _runs(task):
        return {"code": StateCode.RUNNING, "text": text}
    match task.status:
        case TaskStatus.PENDING:
            # Those that are stored are known to the scheduler.
            unblock = "the children before it in its array are placed"
            return {"code": PendingReason.NOT_MADE, "text": text, "unblock": unblock}
        case TaskStatus.CREATED:
            unblock = f"GET /api/1.0/task/{task.id}/pending"
            return {"code": PendingReason.HELD_BY_OWNER, "text": text, "unblock": unblock}
    return {"code": StateCode(task.status), "text": text}
