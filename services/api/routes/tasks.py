"""Show, explain, release and kill tasks."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import Path, Query

from services.api import array_actions
from services.api.access.callers import Caller
from services.api.access.guards import ManagedTask, VisibleTask
from services.api.answers import explanations, tasks
from services.api.context import ContextDep
from services.api.http import routers, strict_queries
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.wire.answers import Counted
from services.api.wire.explanation import Explanation
from services.api.wire.task_out import TaskOut, TaskStatusOut
from shared import clock, errors
from shared.lifecycle import ACTIVE, Intent, TaskStatus
from shared.models import transitions

log = structlog.get_logger(__name__)

router = routers.make("tasks")

Index = Annotated[
    str | None, Query(max_length=10_000, description="Kill only these children of an array, by index, like `3-7,9`")
]

Counting = Annotated[str, Path(description="`pending`, `running`, `kill` (to be killed) or `all`")]

_COUNTED: dict[str, frozenset[TaskStatus]] = {
    "pending": frozenset({TaskStatus.PENDING, TaskStatus.STARTING}),
    "running": frozenset({TaskStatus.RUNNING}),
    "all": frozenset(TaskStatus),
}


@router.get(
    "/task/status/{status}/count",
    response_model=Counted,
    responses=responses(404),
    summary="Count tasks by status",
)
async def count_tasks(status: Counting, context: ContextDep) -> Json:
    if status == "kill":
        total = await context.stores.views.count_kills()
    elif status in _COUNTED:
        total = await context.stores.views.count(_COUNTED[status])
    else:
        raise errors.NotFound("status must be one of pending, running, kill, all")
    return Json({"total": total, "status": status})


@router.get("/task/{task_id}", response_model=TaskOut, responses=AUTHENTICATED | responses(404), summary="Get a task")
async def get_task(task: VisibleTask, context: ContextDep) -> Json:
    return await tasks.one(context, task)


@router.get(
    "/task/{task_id}/status",
    response_model=TaskStatusOut,
    responses=AUTHENTICATED | responses(404),
    summary="Get the status of a task, with its reason",
)
async def get_task_status(task: VisibleTask, context: ContextDep) -> Json:
    return Json({"id": task.id, "status": await tasks.status(context, task)})


@router.get(
    "/task/{task_id}/explain",
    response_model=Explanation,
    responses=AUTHENTICATED | responses(404),
    summary="Explain why a task waits, node by node",
)
async def explain_task(task: VisibleTask, context: ContextDep) -> Json:
    """
    Asks the leading scheduler now. The answer has every reason, the event that would remove it, a verdict on each node,
    the task's position in the queue and its score. `verdict` distinguishes tasks that can never run here, that wait,
    and that are being started. For a finished task, the answer has its end, its exit code and the last lines of
    `god.err`.
    """
    return Json(await explanations.of_task(context, task))


@router.get(
    "/task/{task_id}/pending",
    response_model=TaskOut,
    responses=AUTHENTICATED | responses(403, 404),
    summary="Release a held task",
)
@strict_queries.changes
async def release_task(task: ManagedTask, context: ContextDep) -> Json:
    """A task that is not held is answered unchanged."""
    if task.status is not TaskStatus.CREATED:
        return await tasks.one(context, task)
    released = await context.stores.tasks.transition(transitions.release(task, at=clock.now()))
    if released is not None:
        context.hints.pending([released.id])
    return await tasks.one(context, released or await context.stores.views.get(task.id) or task)


@router.delete(
    "/task/{task_id}",
    response_model=TaskOut,
    responses=AUTHENTICATED | responses(403, 404, 409),
    summary="Kill a task",
)
async def kill_task(task: ManagedTask, context: ContextDep, caller: Caller, index: Index = None) -> Json:
    """
    The request is recorded at once and carried out soon: `status.secondary` is `kill requested` until the task is over.
    Killing an array kills all its children; with `index`, only some of them.
    """
    if index is not None:
        part = await array_actions.kill_part(context, task, index, by=caller.id)
        return await tasks.one(context, part or await context.stores.views.get(task.id) or task)
    asked = await context.stores.tasks.ask(task.id, Intent.KILL, at=clock.now(), statuses=sorted(ACTIVE), by=caller.id)
    if asked is None:
        asked = await array_actions.kill_unmade(context, task, by=caller.id)
    else:
        context.hints.intent_written()
        log.info("task.kill_asked", task_id=task.id, user=task.user.id, by=caller.id)
    if asked is not None and task.array is not None:
        await array_actions.kill_all(context, task, asked)
    # If there is nothing to kill, the task ended meanwhile: show its end.
    return await tasks.one(context, asked or await context.stores.views.get(task.id) or task)
