"""Create several tasks in one request."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Body, Request

from services.api.access.callers import Caller
from services.api.admission import idempotency, warnings
from services.api.admission.idempotency import SentKey
from services.api.admission.lookup import Admission, count_refusals
from services.api.context import ContextDep
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.routes.creation import StrictAsked, warned
from services.api.wire.answers import AddedMany
from services.api.wire.submission import TaskIn
from shared import errors
from shared.errors import FieldError
from shared.models.task import Task
from shared.settings import MOST_IN_BATCH

router = routers.make("tasks")

_CHUNK = 50  #: tasks that are checked before other requests get a turn
_HELLO = {"container": {"image": "busybox:latest"}, "command": {"cmd": "echo hello from task $GODOCKER_JID"}}

Batch = Annotated[
    list[TaskIn],
    Body(
        min_length=1,
        max_length=MOST_IN_BATCH,
        examples=[[{**_HELLO, "meta": {"name": "first"}}, {**_HELLO, "meta": {"name": "second"}}]],
    ),
]


@router.post(
    "/task/batch",
    response_model=AddedMany,
    responses=AUTHENTICATED | responses(403, 409, 413, 429),
    summary="Create several tasks, all or none",
)
async def create_tasks(
    sent: Batch,
    request: Request,
    context: ContextDep,
    caller: Caller,
    sent_key: SentKey = None,
    strict: StrictAsked = False,
) -> Json:
    """
    Takes a list of tasks, each as in `POST /task`, and answers with their numbers in the same order. If one of them
    breaks a rule, or a limit has no room for all, none is created. The setting `max_batch` limits the length of the
    list. Each warning begins with the place of its task in the list.
    """
    documents, nodes = await request.json(), await context.nodes.get()
    oddities: list[FieldError] = []
    for number, (one, document) in enumerate(zip(sent, documents, strict=True)):
        if number % _CHUNK == 0:
            await asyncio.sleep(0)
        if len(oddities) > warnings.MAX_SENTENCES:
            break
        oddities += warnings.numbered(number, warnings.find(one, document, settings=context.settings, nodes=nodes))

    async def admit() -> list[Task]:
        await context.check_open()
        if len(sent) > context.settings.max_batch:
            raise errors.InvalidInput.of("body", f"must hold at most {context.settings.max_batch} tasks")
        tasks = await Admission(context, caller).admit_all(sent)
        if strict:
            warnings.check(oddities)
        return tasks

    with count_refusals():
        key = await idempotency.key_of(request, caller, sent_key)
        ids = await idempotency.once(context, key, admit)
    return Json({"msg": "Tasks added", "ids": ids} | warned(oddities))
