"""Create many tasks by one request."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Body, Request

from services.api.access.callers import Caller, Here
from services.api.admission import idempotency, warnings
from services.api.admission.idempotency import SentKey
from services.api.admission.lookup import Arrivals, refusals_counted
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.routes.creation import StrictAsked, warned
from services.api.wire.answers import AddedMany, Json
from services.api.wire.submission import TaskIn
from shared import errors
from shared.errors import FieldError
from shared.models.task import Task
from shared.settings import MOST_IN_BATCH

router = routers.make("tasks")

_AT_A_TIME = 50  #: tasks that are looked at before others have a turn
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
    sent: Batch, request: Request, here: Here, user: Caller, sent_key: SentKey = None, strict: StrictAsked = False
) -> Json:
    """
    A list of tasks, each as for `POST /task`; the answer has their numbers in the same order. If any of them breaks a rule, or a
    limit does not hold all of them, none is created. How many may come at once is configured (`max_batch`). Each of `warnings`
    begins with the place of its task in the list.
    """
    documents, nodes = await request.json(), await here.nodes.get()
    odd: list[FieldError] = []
    for number, (one, document) in enumerate(zip(sent, documents, strict=True)):
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)
        if len(odd) > warnings.MOST:
            break
        odd += warnings.numbered(number, warnings.found(one, document, settings=here.settings, nodes=nodes))

    async def admit() -> list[Task]:
        await here.check_open()
        if len(sent) > here.settings.max_batch:
            raise errors.InvalidInput.of("body", f"must hold at most {here.settings.max_batch} tasks")
        tasks = await Arrivals(here, user).admit_all(sent)
        if strict:
            warnings.check(odd)
        return tasks

    with refusals_counted():
        key = await idempotency.key_of(request, user, sent_key)
        ids = await idempotency.once(here, key, admit)
    return Json({"msg": "Tasks added", "ids": ids} | warned(odd))
