"""Archive tasks that are over (the record stays, the files go), or delete them."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import Path, Query

from services.api import array_actions, routers, task_answers
from services.api.dependencies import Caller, Here, Managed
from services.api.errors import AUTHENTICATED, responses
from services.api.wire.answers import Json, TaskOut
from shared import clock, errors
from shared.lifecycle import ENDED, TaskStatus

log = structlog.get_logger(__name__)

router = routers.make("archive")

_DAY = 24 * 3600
Days = Annotated[int, Path(ge=0, le=36500)]


@router.get(
    "/task/{task_id}/archive",
    response_model=TaskOut,
    responses=AUTHENTICATED | responses(404, 409),
    summary="Archive a task that is over",
)
async def archive(task: Managed, here: Here) -> Json:
    """Its files are removed, its record stays; those of an array with those of all its children. Archiving twice is fine."""
    if task.status not in ENDED:
        raise errors.Conflict(f"task {task.id} is not over")
    now = clock.now()
    if task.array is not None:
        await array_actions.archive_all(here, task, now=now)
    move = array_actions.archiving(task.id, task.attempt, now)
    moved = await here.stores.tasks.transition(move) if task.status == "over" else None
    return await task_answers.one(here, moved or await here.stores.views.get(task.id) or task)


@router.delete(
    "/task/{task_id}/archive",
    response_model=TaskOut,
    responses=AUTHENTICATED | responses(404, 409),
    summary="Delete a task that is over",
)
async def delete(task: Managed, here: Here, user: Caller) -> Json:
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
    return await task_answers.one(here, task)


@router.get(
    "/archive/{days}",
    response_model=list[int],
    responses=AUTHENTICATED,
    summary="Archive the caller's tasks that ended more than so many days ago",
)
async def archive_old(days: Days, here: Here, user: Caller) -> Json:
    now = clock.now()
    old = await here.stores.lists.old(user.id, before=now - days * _DAY, tag=None)
    moves = [array_actions.archiving(task.id, task.attempt, now) for task in old if task.status is TaskStatus.OVER]
    return Json(sorted(await here.stores.tasks.transition_many(moves)))


@router.delete(
    "/archive/{days}",
    response_model=list[int],
    responses=AUTHENTICATED,
    summary="Delete the caller's tasks that ended more than so many days ago, with a tag or with any",
)
async def delete_old(
    days: Days, here: Here, user: Caller, tag: Annotated[str | None, Query(max_length=100)] = None
) -> Json:
    old = await here.stores.lists.old(user.id, before=clock.now() - days * _DAY, tag=tag)
    gone = await array_actions.deletable(here, old)
    deleted = sorted(await here.stores.tasks.delete([task.id for task in gone]))
    log.info("task.delete_asked", user=user.id, by=user.id, tag=tag, days=days, tasks=len(deleted))
    return Json(deleted)
