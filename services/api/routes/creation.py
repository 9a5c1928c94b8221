"""Create a task."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request

from services.api import explanations, idempotency, routers
from services.api.arrivals import Arrivals, refusals_counted
from services.api.dependencies import Caller, Here
from services.api.errors import AUTHENTICATED, responses
from services.api.idempotency import SentKey
from services.api.wire.answers import Added, Json
from services.api.wire.explanation import DryRun
from services.api.wire.submission import TaskIn
from shared.models.task import Task

router = routers.make("tasks")

DryRunAsked = Annotated[bool, Query(description="Store nothing; explain why the task would wait")]


@router.post(
    "/task",
    response_model=Added | DryRun,
    responses=AUTHENTICATED | responses(403, 409, 413, 429),
    summary="Create a task",
)
async def create_task(
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
