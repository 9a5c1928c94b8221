"""Archive finished tasks, which deletes their files, or delete them."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from fastapi import Path, Query

from services.api import array_actions
from services.api.access.callers import Caller
from services.api.access.guards import ManagedTask
from services.api.answers import tasks
from services.api.context import ContextDep
from services.api.http import routers, strict_queries
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.wire.task_out import TaskOut
from shared import clock, errors
from shared.lifecycle import ENDED, TaskStatus
from shared.models import transitions

log = structlog.get_logger(__name__)

router = routers.make("archive")

_DAY = 24 * 3600
Days = Annotated[int, Path(ge=0, le=36500, description="Minimum number of days since the end of the task")]


_ARCHIVE: dict[str, Any] = {
    "response_model": TaskOut,
    "responses": AUTHENTICATED | responses(404, 409),
    "summary": "Archive a finished task: delete its files, keep its record",
}
_ARCHIVE_OLD: dict[str, Any] = {
    "response_model": list[int],
    "responses": AUTHENTICATED,
    "summary": "Archive your old tasks: delete the files of those that ended more than some days ago",
}


# Clients of GO-Docker archive by GET. POST is safe from browsers that prefetch, and from curious clicks.
@router.get("/task/{task_id}/archive", name="archive_task_by_get", deprecated=True, **_ARCHIVE)
@router.post("/task/{task_id}/archive", **_ARCHIVE)
@strict_queries.changes
async def archive_task(task: ManagedTask, context: ContextDep) -> Json:
    """Deletes the files of the task, and of all children of an array. Archiving twice is fine."""
    if task.status not in ENDED:
        raise errors.Conflict(f"task {task.id} is not over")
    now = clock.now()
    if task.array is not None:
        await array_actions.archive_all(context, task, now=now)
    archive = transitions.archive(task.id, task.attempt, at=now)
    archived = await context.stores.tasks.transition(archive) if task.status == "over" else None
    return await tasks.one(context, archived or await context.stores.views.get(task.id) or task)


@router.delete(
    "/task/{task_id}/archive",
    response_model=TaskOut,
    responses=AUTHENTICATED | responses(404, 409),
    summary="Delete a finished task, its files and its record",
)
async def delete_task(task: ManagedTask, context: ContextDep, caller: Caller) -> Json:
    """
    Deletes the record and the files of the task, and of all children of an array. Its usage still counts. A child
    cannot be deleted before its array is over.
    """
    if task.status not in ENDED:
        raise errors.Conflict(f"task {task.id} is not over")
    if not await array_actions.deletable(context, [task]):
        raise errors.Conflict(f"task {task.id} belongs to an array that is not over")
    if task.array is not None:
        await context.stores.arrays.delete_children(task.id)
    if not await context.stores.tasks.delete([task.id]):
        raise array_actions.not_stored(task)
    log.info("task.delete_asked", task_id=task.id, user=task.user.id, by=caller.id)
    return await tasks.one(context, task)


@router.get("/archive/{days}", name="archive_old_tasks_by_get", deprecated=True, **_ARCHIVE_OLD)
@router.post("/archive/{days}", **_ARCHIVE_OLD)
@strict_queries.changes
async def archive_old_tasks(days: Days, context: ContextDep, caller: Caller) -> Json:
    now = clock.now()
    old = await context.stores.lists.old(caller.id, before=now - days * _DAY, tag=None)
    archivals = [transitions.archive(task.id, task.attempt, at=now) for task in old if task.status is TaskStatus.OVER]
    return Json(sorted(await context.stores.tasks.transition_many(archivals)))


@router.delete(
    "/archive/{days}",
    response_model=list[int],
    responses=AUTHENTICATED,
    summary="Delete your old tasks, files and records, of those that ended more than some days ago",
)
async def delete_old_tasks(
    days: Days,
    context: ContextDep,
    caller: Caller,
    tag: Annotated[str | None, Query(max_length=100, description="Only tasks with this tag")] = None,
) -> Json:
    old = await context.stores.lists.old(caller.id, before=clock.now() - days * _DAY, tag=tag)
    deletable = await array_actions.deletable(context, old)
    deleted = sorted(await context.stores.tasks.delete([task.id for task in deletable]))
    log.info("task.delete_asked", user=caller.id, by=caller.id, tag=tag, days=days, tasks=len(deleted))
    return Json(deleted)
