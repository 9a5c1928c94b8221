"""Act on a task: suspend, resume, reschedule, change, monitor."""

from __future__ import annotations

from typing import Annotated

import structlog
from pydantic import BaseModel, ConfigDict, Field, field_validator

from services.api import array_actions
from services.api.access.callers import Caller
from services.api.access.guards import ManagedTask, VisibleTask
from services.api.admission import arrays, requirements
from services.api.answers import tasks
from services.api.context import ContextDep
from services.api.http import routers, strict_queries
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.wire.answers import Sample
from services.api.wire.task_out import TaskOut
from shared import clock, errors
from shared.executors.types import Feature
from shared.lifecycle import ENDED, Intent, IntentResult, TaskStatus
from shared.models.task import Task
from shared.models.user import User

log = structlog.get_logger(__name__)

router = routers.make("tasks")

_RESPONSES = AUTHENTICATED | responses(404)
_STEERED = _RESPONSES | responses(409)


async def _set_intent(context: ContextDep, task: Task, intent: Intent, rejected: IntentResult, *, by: User) -> Json:
    """
    Record the owner's intent for a running task; reject it for a waiting one. Raises `errors.Conflict` if the task is
    over.
    """
    if task.status in ENDED:
        raise _over(task)
    is_possible = intent is Intent.RESCHEDULE or Feature.PAUSE in context.features
    now = clock.now()
    if intent is Intent.RESCHEDULE and task.array is not None:
        await array_actions.reschedule_all(context, task, by=by.id)
        return await tasks.one(context, task)
    # The parent of an array never runs: it keeps the intent for its children.
    at = TaskStatus.RUNNING if task.array is None else TaskStatus.PENDING
    asked = await context.stores.tasks.ask(task.id, intent, at=now, statuses=[at], by=by.id) if is_possible else None
    if asked is not None:
        log.info(f"task.{intent}_asked", task_id=task.id, user=task.user.id, by=by.id)
        context.hints.intent_written()
        if task.array is not None:
            context.hints.pending([task.id])
    elif intent is not Intent.RESCHEDULE:
        asked = await context.stores.tasks.reject(task.id, rejected)
    current = asked or await context.stores.views.get(task.id) or task
    if asked is None and current.status in ENDED:
        raise _over(current)  # it ended meanwhile
    return await tasks.one(context, current)


def _over(task: Task) -> errors.Conflict:
    """Return the error for an intent that comes too late, with an alternative."""
    return errors.Conflict(
        f"task {task.id} is over: to run it again, POST to /api/1.0/task the document that "
        f"GET /api/1.0/task/{task.id} answers"
    )


@router.get("/task/{task_id}/suspend", response_model=TaskOut, responses=_STEERED, summary="Suspend a running task")
@strict_queries.changes
async def suspend_task(task: ManagedTask, context: ContextDep, caller: Caller) -> Json:
    """The task keeps its memory, and its lifespan continues. `status.secondary` shows the result."""
    return await _set_intent(context, task, Intent.SUSPEND, IntentResult.SUSPEND_REJECTED, by=caller)


@router.get("/task/{task_id}/resume", response_model=TaskOut, responses=_STEERED, summary="Resume a suspended task")
@strict_queries.changes
async def resume_task(task: ManagedTask, context: ContextDep, caller: Caller) -> Json:
    return await _set_intent(context, task, Intent.RESUME, IntentResult.RESUME_REJECTED, by=caller)


@router.get(
    "/task/{task_id}/reschedule",
    response_model=TaskOut,
    responses=_STEERED,
    summary="Restart a running task on any node",
)
@strict_queries.changes
async def reschedule_task(task: ManagedTask, context: ContextDep, caller: Caller) -> Json:
    """A task that is not running is answered unchanged. To repeat a finished task, create it again."""
    return await _set_intent(context, task, Intent.RESCHEDULE, IntentResult.RESCHEDULED, by=caller)


class Change(BaseModel):
    """A requirement and its new value."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"name": "maxlifespan", "value": "6d"}]})

    name: Annotated[str, Field(max_length=64, description="Name of a dynamic field, or `array.max_concurrent`")]
    value: Annotated[str, Field(max_length=256, description="New value, as text; numbers are accepted")]

    @field_validator("value", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


@router.put(
    "/task/{task_id}",
    response_model=Change,
    responses=_RESPONSES | responses(403, 409),
    summary="Change a dynamic requirement of a task",
)
async def change_task(sent: Change, task: ManagedTask, context: ContextDep, caller: Caller) -> Json:
    if sent.name == arrays.MAX_CONCURRENT:
        await array_actions.limit(context, task, sent.value)
        return Json({"name": sent.name, "value": sent.value})
    field = next((field for field in context.settings.dynamic_fields if field.name == sent.name), None)
    if field is None:
        known = ", ".join((arrays.MAX_CONCURRENT, *(field.name for field in context.settings.dynamic_fields)))
        raise errors.InvalidInput.of("name", f"must be one of: {known}")
    if field.admin_only and not caller.admin:
        raise errors.NotAllowed(f"only an admin may change {field.name}")
    if field.name == requirements.LIFESPAN and (problem := requirements.lifespan_problem(sent.value, context.settings)):
        raise errors.InvalidInput.of("value", problem)
    if await context.stores.tasks.set_dynamic(task.id, field.name, sent.value) is None:
        is_over = task.member is None or task.status in ENDED
        raise errors.Conflict(f"task {task.id} is over") if is_over else array_actions.not_stored(task)
    if task.array is not None:
        await context.stores.arrays.set_dynamic_of_children(task.id, {field.name: sent.value})
        context.hints.pending([task.id])
    log.info("task.changed", task_id=task.id, user=task.user.id, by=caller.id, field=field.name)
    return Json({"name": field.name, "value": sent.value})


@router.get(
    "/task/{task_id}/monitor",
    response_model=list[Sample],
    responses=_RESPONSES,
    summary="List the resource use of a task in its last minutes, oldest first",
)
async def list_task_samples(task: VisibleTask, context: ContextDep) -> Json:
    if task.started_at is None:
        raise errors.NotFound(f"task {task.id} never ran")
    return Json(await context.broker.samples(task.id))
