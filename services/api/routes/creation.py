"""Create a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Request

from services.api import context
from services.api.access.callers import Caller
from services.api.admission import idempotency, warnings
from services.api.admission.idempotency import SentKey
from services.api.admission.lookup import Arrivals, refusals_counted
from services.api.answers import explanations
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.wire.answers import Added, Json
from services.api.wire.explanation import DryRun
from services.api.wire.submission import TaskIn
from shared.errors import FieldError
from shared.models.task import Task

router = routers.make("tasks")

DryRunAsked = Annotated[bool, Query(description="Store nothing; explain why the task would wait")]
StrictAsked = Annotated[bool, Query(description="Refuse whatever would otherwise be answered with `warnings`")]


@router.post(
    "/task",
    response_model=Added | DryRun,
    responses=AUTHENTICATED | responses(403, 409, 413, 429),
    summary="Create a task",
)
async def create_task(
    sent: TaskIn,
    request: Request,
    user: Caller,
    sent_key: SentKey = None,
    dry_run: DryRunAsked = False,
    strict: StrictAsked = False,
) -> Json:
    """
    Once this answers, the task is stored for good. It runs when its turn has come and a node has room. Without an answer, send it
    again under the same `Idempotency-Key`: it is created once.

    `status.primary: "created"` holds the task back until `GET /task/{id}/pending`. With `?dry_run=true` nothing is stored: the
    answer says whether the task would be accepted, and why it would wait.

    `warnings` names unknown fields with the nearest known name, amounts that no node has, and first lines of scripts that do not
    work. With `?strict=true` the task is refused instead.
    """
    here = context.of(request)  # no dependency: each costs the framework a twentieth of such a request
    odd = warnings.found(sent, await request.json(), settings=here.settings, nodes=await here.nodes.get())

    async def admit() -> Task:
        await here.check_open()
        task = await Arrivals(here, user).admit(sent)
        if strict:
            warnings.check(odd)
        return task

    async def admit_whole() -> list[Task]:
        return [await admit()]

    with refusals_counted():
        if dry_run:
            explanation = await explanations.of_unsent(here, await admit())
            odd = odd or warnings.of_verdict(explanation)
            if strict:
                warnings.check(odd)
            return Json({"msg": "Task would be added", "explanation": explanation} | warned(odd))
        key = await idempotency.key_of(request, user, sent_key)
        if key is None:
            task_id = await here.submissions.submit(await admit())
        else:
            (task_id,) = await idempotency.once(here, key, admit_whole)
    return Json({"msg": "Task added", "id": task_id} | warned(odd))


def warned(odd: Sequence[FieldError]) -> dict[str, Any]:
    return {"warnings": warnings.sentences(odd)} if odd else {}
