"""Create, look at and kill tasks."""

from __future__ import annotations

from fastapi import APIRouter

from services.api import admission, bodies, task_answers
from services.api.dependencies import Caller, Here, Managed, Visible
from services.api.errors import AUTHENTICATED, responses
from services.api.wire import task as wire
from services.api.wire.answers import Added, Counted, Json, TaskOut, TaskStatusOut
from services.api.wire.submission import TaskIn
from shared import clock, errors, metrics
from shared.auth import permissions
from shared.auth.permissions import Action
from shared.lifecycle import ACTIVE, Intent, TaskStatus
from shared.models.user import User
from shared.store.tasks import Transition

router = APIRouter(route_class=bodies.StrictRoute, tags=["tasks"])


@router.post("/task", response_model=Added, responses=AUTHENTICATED | responses(403, 413, 429), summary="Create a task")
async def create(sent: TaskIn, here: Here, user: Caller) -> Json:
    """
    Once this answers, the task is stored for good. It runs when its turn has come and a node has room.

    `status.primary: "created"` holds the task back until `GET /task/{id}/pending`.
    """
    try:
        await here.check_open()
        owner = await here.runs_as(await _owner(sent, here, user))
        project = await here.stores.projects.get(admission.wanted_project(sent))
        task = admission.admit(
            sent, owner=owner, project=project, settings=here.settings, features=here.features, now=clock.now()
        )
        task_id = await here.submissions.submit(task)
    except errors.GoDockerError as error:
        metrics.TASKS_REFUSED.labels(code=type(error).__name__).inc()
        raise
    return Json({"msg": "Task added", "id": task_id})


async def _owner(sent: TaskIn, here: Here, user: User) -> User:
    """Whom the task will run as. Raises `errors.NotAllowed` and `errors.InvalidInput`."""
    wanted = sent.user.id if sent.user else None
    if not wanted or wanted == user.id:
        return user
    if not permissions.allows(permissions.role_towards_user(user, wanted), Action.SUBMIT_AS):
        raise errors.NotAllowed("only an admin may create tasks of another user")
    owner = await here.users.ask(wanted)
    if owner is None or not owner.active:
        raise errors.InvalidInput.of("user.id", f"there is no active user {wanted[:64]}")
    return owner


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
    verdicts = await here.verdicts([task])
    return Json({"id": task.id, "status": wire.status(task, verdict=verdicts.get(task.shape))})


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
    responses=AUTHENTICATED | responses(403, 404),
    summary="Kill a task",
)
async def kill(task: Managed, here: Here) -> Json:
    """Recorded at once, carried out soon: `status.secondary` is `kill requested` until the task is over."""
    asked = await here.stores.tasks.ask(task.id, Intent.KILL, at=clock.now(), statuses=sorted(ACTIVE))
    if asked is not None:
        here.hints.asked()
    # Not asked: it came to its end meanwhile, and is shown with it.
    return await task_answers.one(here, asked or await here.stores.views.get(task.id) or task)
