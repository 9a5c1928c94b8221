"""Look at tasks, release and kill them."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import Path, Query

from services.api import array_actions
from services.api.access.callers import Caller, Here, Managed, Visible
from services.api.answers import tasks
from services.api.http import routers, strict_queries
from services.api.http.errors import AUTHENTICATED, responses
from services.api.wire.answers import Counted, Json
from services.api.wire.task_out import TaskOut, TaskStatusOut
from shared import clock, errors
from shared.lifecycle import ACTIVE, Intent, TaskStatus
from shared.models import transitions

log = structlog.get_logger(__name__)

router = routers.make("tasks")

Index = Annotated[
    str | None, Query(max_length=10_000, description="Kill only these children of the array, by index, like `3-7,9`")
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
async def count_tasks(status: Counting, here: Here) -> Json:
    if status == "kill":
        total = await here.stores.views.count_kills()
    elif status in _COUNTED:
        total = await here.stores.views.count(_COUNTED[status])
    else:
        raise errors.NotFound("status must be one of pending, running, kill, all")
    return Json({"total": total, "status": status})


@router.get("/task/{task_id}", response_model=TaskOut, responses=AUTHENTICATED | responses(404), summary="Get a task")
async def get_task(task: Visible, here: Here) -> Json:
    return await tasks.one(here, task)


@router.get(
    "/task/{task_id}/status",
    response_model=TaskStatusOut,
    responses=AUTHENTICATED | responses(404),
    summary="Get the status of a task, with its reason",
)
async def get_task_status(task: Visible, here: Here) -> Json:
    return Json({"id": task.id, "status": await tasks.status(here, task)})


@router.get(
    "/task/{task_id}/pending",
    response_model=TaskOut,
    responses=AUTHENTICATED | responses(403, 404),
    summary="Release a held task",
)
@strict_queries.changes
async def release_task(task: Managed, here: Here) -> Json:
    """A task that is past being created is shown as it is."""
    if task.status is not TaskStatus.CREATED:
        return await tasks.one(here, task)
    now = clock.now()
    move = transitions.release(task, at=now)
    moved = await here.stores.tasks.transition(move)
    if moved is not None:
        here.hints.pending([moved.id])
    return await tasks.one(here, moved or await here.stores.views.get(task.id) or task)


@router.delete(
    "/task/{task_id}",
    response_model=TaskOut,
    responses=AUTHENTICATED | responses(403, 404, 409),
    summary="Kill a task",
)
async def kill_task(task: Managed, here: Here, user: Caller, index: Index = None) -> Json:
    """
    Recorded at once, carried out soon: `status.secondary` is `kill requested` until the task is over. An array is killed with
    all its children, or with `index` a part of them without the rest.
    """
    if index is not None:
        part = await array_actions.kill_part(here, task, index, by=user.id)
        return await tasks.one(here, part or await here.stores.views.get(task.id) or task)
    asked = await here.stores.tasks.ask(task.id, Intent.KILL, at=clock.now(), statuses=sorted(ACTIVE), by=user.id)
    if asked is None:
        asked = await array_actions.kill_unmade(here, task, by=user.id)
    else:
        here.hints.asked()
        log.info("task.kill_asked", task_id=task.id, user=task.user.id, by=user.id)
    if asked is not None and task.array is not None:
        await array_actions.kill_all(here, task, asked)
    # Not asked: it came to its end meanwhile, and is shown with it.
    return await tasks.one(here, asked or await here.stores.views.get(task.id) or task)
