"""Create a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query, Request

from services.api import context as contexts
from services.api.access.callers import Caller
from services.api.admission import idempotency, warnings
from services.api.admission.idempotency import SentKey
from services.api.admission.lookup import Admission, count_refusals
from services.api.answers import explanations
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.wire.answers import Added
from services.api.wire.explanation import DryRun
from services.api.wire.submission import TaskIn
from shared.errors import FieldError
from shared.models.task import Task

router = routers.make("tasks")

DryRunAsked = Annotated[bool, Query(description="Store nothing, and explain why the task would wait")]
StrictAsked = Annotated[bool, Query(description="Refuse tasks whose answer would contain `warnings`")]


@router.post(
    "/task",
    response_model=Added | DryRun,
    responses=AUTHENTICATED | responses(403, 409, 413, 429),
    summary="Create a task",
)
async def create_task(
    sent: TaskIn,
    request: Request,
    caller: Caller,
    sent_key: SentKey = None,
    dry_run: DryRunAsked = False,
    strict: StrictAsked = False,
) -> Json:
    """
    Once this answers, the task is stored safely. It starts when its turn comes and a node has room. If you get no
    answer, send it again with the same `Idempotency-Key`: it is created only once.

    `status.primary: "created"` holds the task back until `GET /task/{id}/pending`. With `?dry_run=true` nothing is
    stored, and the answer explains why the task would wait.

    `warnings` names unknown fields with the nearest known name, amounts that no node has, and scripts whose first line
    does not work. With `?strict=true` such a task is refused.
    """
    context = contexts.of(request)  # not a dependency: each costs a twentieth of such a request
    oddities = warnings.find(sent, await request.json(), settings=context.settings, nodes=await context.nodes.get())

    async def admit() -> Task:
        await context.check_open()
        task = await Admission(context, caller).admit(sent)
        if strict:
            warnings.check(oddities)
        return task

    async def admit_whole() -> list[Task]:
        return [await admit()]

    with count_refusals():
        if dry_run:
            explanation = await explanations.of_unsent(context, await admit())
            oddities = oddities or warnings.of_verdict(explanation)
            if strict:
                warnings.check(oddities)
            return Json({"msg": "Task would be added", "explanation": explanation} | warned(oddities))
        key = await idempotency.key_of(request, caller, sent_key)
        if key is None:
            task_id = await context.submissions.submit(await admit())
        else:
            (task_id,) = await idempotency.once(context, key, admit_whole)
    return Json({"msg": "Task added", "id": task_id} | warned(oddities))


def warned(oddities: Sequence[FieldError]) -> dict[str, Any]:
    return {"warnings": warnings.sentences(oddities)} if oddities else {}
