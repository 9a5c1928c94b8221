"""Create, look at and kill tasks."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import Query, Request

from services.api import array_actions, explanations, idempotency, routers, task_answers
from services.api.arrivals import Arrivals, refusals_counted
from services.api.dependencies import Caller, Here, Managed, Visible
from services.api.errors import AUTHENTICATED, responses
from services.api.idempotency import SentKey
from services.api.wire.answers import Added, Counted, Json, TaskOut, TaskStatusOut
from services.api.wire.explanation import DryRun
from services.api.wire.submission import TaskIn
from shared import clock, errors
from shared.lifecycle import ACTIVE, Intent, TaskStatus
from shared.models.task import Task
from shared.store.tasks import Transition

log = structlog.get_logger(__name__)

router = routers.make("tasks")

DryRunAsked = Annotated[bool, Query(description="Store nothing, and say what would become of it")]


@router.post(
    "/task",
    response_model=Added | DryRun,
    responses=AUTHENTICATED | responses(403, 409, 413, 429),
    summary="Create a task",
)
async def create(
    sent: TaskIn, request: Request, here: Here, user: Caller, sent_key: SentKey = None, dry_run: DryRunAsked = False
) -> Json:
    """
    Once this answers, the task is stored for good. It runs when its turn has come and a node has room. Whoever gets no answer
    can send it again under the same `Idempotency-Key`: it is created once.

    `status.primary: "created"` holds the task back until `GET /task/{id}/pending`. With `?dry_run=true` nothing is stored: the
    answer says whether the task would be accepted, and why it would wait.
    """

    async def admit() -> Task:
        await here.check_open()
        return await Arrivals(here, user).admit(sent)

    async def admit_whole() -> list[Task]:
        return [await admit()]

    with refusals_counted():
        if dry_run:
            explanation = await explanations.of_unsent(here, await admit())
            return Json({"msg": "Task would be added", "explanation": explanation})
        key = await idempotency.key_of(request, user, sent_key)
        if key is None:
            task_id = await here.submissions.submit(await admit())
        else:
            (task_id,) = await idempotency.once(here, key, admit_whole)
    return Json({"msg": "Task added", "id": task_id})


Index = Annotated[
    str | None, Query(max_length=10_000, description="Of an array: the indices of the children to kill, like `3-7,9`")
]

_COUNTED: dict[str, frozenset[TaskStatus]] = {
    "pending": frozenset({TaskStatus.PENDING, TaskStatus.STARTING}),
    "running": frozenset({TaskStatus.RUNNING}),
    "all": frozenset(TaskStatus),
}


@router.get(
    "/task/status/{status}/count",
    response_model=Counted,
    responses=responses(404),
    summary="How many tasks of all users are pending, running, to be killed, or known at all",
)
async def count(status: str, here: Here) -> Json:
    if status == "kill":
        total = await here.stores.views.count_kills()
    elif status in _COUNTED:
        total = await here.stores.views.count(_COUNTED[status])
    else:
        raise errors.NotFound("status must be one of pending, running, kill, all")
    return Json({"total": total, "status": status})


@router.get("/task/{task_id}", response_model=TaskOut, responses=AUTHENTICATED | responses(404), summary="A task")
async def get(task: Visible, here: Here) -> Json:
    return await task_answers.one(here, task)


@router.get(
    "/task/{task_id}/status",
    response_model=TaskStatusOut,
    responses=AUTHENTICATED | responses(404),
    summary="Where a task is, and why",
)
async def status(task: Visible, here: Here) -> Json:
    return Json({"id": task.id, "status": await task_answers.status(here, task)})


@router.get(
    "/task/{task_id}/pending",
    response_model=TaskOut,
    responses=AUTHENTICATED | responses(403, 404),
    summary="Let a task go that was created to be held back",
)
async def pending(task: Managed, here: Here) -> Json:
    """A task that is past being created is shown as it is."""
    if task.status is not TaskStatus.CREATED:
        return await task_answers.one(here, task)
    now = clock.now()
    move = Transition(
        task.id, task.attempt, TaskStatus.CREATED, TaskStatus.PENDING, at=now, fields={"queued_at": now}, intents=[None]
    )
    moved = await here.stores.tasks.transition(move)
    if moved is not None:
        here.hints.pending([moved.id])
    return await task_answers.one(here, moved or await here.stores.views.get(task.id) or task)


@router.delete(
    "/task/{task_id}",
    response_model=TaskOut,
    responses=AUTHENTICATED | responses(403, 404, 409),
    summary="Kill a task",
)
async def kill(task: Managed, here: Here, user: Caller, index: Index = None) -> Json:
    """
    Recorded at once, carried out soon: `status.secondary` is `kill requested` until the task is over. An array is killed with
    all its children, or with `index` a part of them without the rest.
    """
    if index is not None:
        part = await array_actions.kill_part(here, task, index, by=user.id)
        return await task_answers.one(here, part or await here.stores.views.get(task.id) or task)
    asked = await here.stores.tasks.ask(task.id, Intent.KILL, at=clock.now(), statuses=sorted(ACTIVE), by=user.id)
    if asked is None:
        asked = await array_actions.kill_unmade(here, task, by=user.id)
    else:
        here.hints.asked()
        log.info("task.kill_asked", task_id=task.id, user=task.user.id, by=user.id)
    if asked is not None and task.array is not None:
        await array_actions.kill_all(here, task, asked)
    # Not asked: it came to its end meanwhile, and is shown with it.
    return await task_answers.one(here, asked or await here.stores.views.get(task.id) or task)
