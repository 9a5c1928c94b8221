"""Create many tasks by one request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Request

from services.api import idempotency, routers
from services.api.arrivals import Arrivals, refusals_counted
from services.api.dependencies import Caller, Here
from services.api.errors import AUTHENTICATED, responses
from services.api.idempotency import SentKey
from services.api.wire.answers import AddedMany, Json
from services.api.wire.submission import TaskIn
from shared import errors
from shared.models.task import Task
from shared.settings import MOST_IN_BATCH

router = routers.make("tasks")

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
async def create_tasks(sent: Batch, request: Request, here: Here, user: Caller, sent_key: SentKey = None) -> Json:
    """
    A list of tasks, each as for `POST /task`; the answer has their numbers in the same order. If any of them breaks a rule, or a
    limit does not hold all of them, none is created. How many may come at once is configured (`max_batch`).
    """

    async def admit() -> list[Task]:
        await here.check_open()
        if len(sent) > here.settings.max_batch:
            raise errors.InvalidInput.of("body", f"must hold at most {here.settings.max_batch} tasks")
        return await Arrivals(here, user).admit_all(sent)

    with refusals_counted():
        key = await idempotency.key_of(request, user, sent_key)
        ids = await idempotency.once(here, key, admit)
    return Json({"msg": "Tasks added", "ids": ids})
