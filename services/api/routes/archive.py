"""Archive tasks that are over (the record stays, the files go), or delete them."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from fastapi import Path, Query

from services.api import array_actions
from services.api.access.callers import Caller, Here, Managed
from services.api.answers import tasks
from services.api.http import routers, strict_queries
from services.api.http.errors import AUTHENTICATED, responses
from services.api.wire.answers import Json
from services.api.wire.task_out import TaskOut
from shared import clock, errors
from shared.lifecycle import ENDED, TaskStatus
from shared.models import transitions

log = structlog.get_logger(__name__)

router = routers.make("archive")

_DAY = 24 * 3600
Days = Annotated[int, Path(ge=0, le=36500, description="Days since the end of the task, at least")]


_ARCHIVE: dict[str, Any] = {
    "response_model": TaskOut,
    "responses": AUTHENTICATED | responses(404, 409),
    "summary": "Archive a finished task: deletes its files, keeps its record",
}
_ARCHIVE_OLD: dict[str, Any] = {
    "response_model": list[int],
    "responses": AUTHENTICATED,
    "summary": "Archive your old tasks: deletes the files of all that ended more than so many days ago",
}


# Clients of the original archive by GET. A browser that looks ahead, or a curious click, does not by POST.
@router.get("/task/{task_id}/archive", name="archive_task_by_get", deprecated=True, **_ARCHIVE)
@router.post("/task/{task_id}/archive", **_ARCHIVE)
@strict_queries.changes
async def archive_task(task: Managed, here: Here) -> Json:
    """Its files are removed, its record stays; those of an array with those of all its children. Archiving twice is fine."""
    if task.status not in ENDED:
        raise errors.Conflict(f"task {task.id} is not over")
    now = clock.now()
    if task.array is not None:
        await array_actions.archive_all(here, task, now=now)
    move = transitions.archive(task.id, task.attempt, at=now)
    moved = await here.stores.tasks.transition(move) if task.status == "over" else None
    return await tasks.one(here, moved or await here.stores.views.get(task.id) or task)


@router.delete(
    "/task/{task_id}/archive",
    response_model=TaskOut,
    responses=AUTHENTICATED | responses(404, 409),
    summary="Delete a finished task: its files and its record",
)
async def delete_task(task: Managed, here: Here, user: Caller) -> Json:
    """
    Record and files are gone, those of an array with those of all its children; what it used stays counted. A child cannot be
    deleted before its array is over.
    """
    if task.status not in ENDED:
        raise errors.Conflict(f"task {task.id} is not over")
    if not await array_actions.deletable(here, [task]):
        raise errors.Conflict(f"task {task.id} belongs to an array that is not over")
    if task.array is not None:
        await here.stores.arrays.delete_children(task.id)
    if not await here.stores.tasks.delete([task.id]):
        raise array_actions.not_stored(task)
    log.info("task.delete_asked", task_id=task.id, user=task.user.id, by=user.id)
    return await tasks.one(here, task)


@router.get("/archive/{days}", name="archive_old_tasks_by_get", deprecated=True, **_ARCHIVE_OLD)
@router.post("/archive/{days}", **_ARCHIVE_OLD)
@strict_queries.changes
async def archive_old_tasks(days: Days, here: Here, user: Caller) -> Json:
    now = clock.now()
    old = await here.stores.lists.old(user.id, before=now - days * _DAY, tag=None)
    moves = [transitions.archive(task.id, task.attempt, at=now) for task in old if task.status is TaskStatus.OVER]
    return Json(sorted(await here.stores.tasks.transition_many(moves)))


@router.delete(
    "/archive/{days}",
    response_model=list[int],
    responses=AUTHENTICATED,
    summary="Delete your old tasks: files and records of all that ended more than so many days ago",
)
async def delete_old_tasks(
    days: Days,
    here: Here,
    user: Caller,
    tag: Annotated[str | None, Query(max_length=100, description="Only tasks with this tag")] = None,
) -> Json:
    old = await here.stores.lists.old(user.id, before=clock.now() - days * _DAY, tag=tag)
    gone = await array_actions.deletable(here, old)
    deleted = sorted(await here.stores.tasks.delete([task.id for task in gone]))
    log.info("task.delete_asked", user=user.id, by=user.id, tag=tag, days=days, tasks=len(deleted))
    return Json(deleted)
