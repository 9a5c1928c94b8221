"""Share a task by a token."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import Query

from services.api.access import sharing
from services.api.access.callers import Caller
from services.api.access.guards import OwnedTask, VisibleTask
from services.api.answers import tasks
from services.api.context import ContextDep
from services.api.http import routers, strict_queries
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.wire.answers import Message, Shared, Token
from shared import clock
from shared.auth import tokens

log = structlog.get_logger(__name__)

router = routers.make("tasks")

_RESPONSES = AUTHENTICATED | responses(404)
_TOKEN_SECONDS = 24 * 3600

NewAsked = Annotated[bool, Query(description="Make a new token, which ends the previous one")]


@router.get(
    "/task/{task_id}/share",
    response_model=Shared,
    responses=_RESPONSES | responses(403, 409),
    summary="Share a task and its files with a token",
)
@strict_queries.changes
async def share_task(task: OwnedTask, context: ContextDep, caller: Caller, new: NewAsked = False) -> Json:
    """
    Anybody who sends the token, as `?share=` or in the header `X-GODOCKER-SHARE`, sees the task. Until the token
    expires, this answers the same one; `?new=true` replaces it. The token of an array also opens the directories of its
    children, which are below its own, but not these tasks.
    """
    token = await sharing.token_of(context, task, new=new)
    log.info("task.shared", task_id=task.id, user=task.user.id, by=caller.id)
    return Json(sharing.shown(task, token))


@router.get(
    "/task/{task_id}/unshare",
    response_model=Message,
    responses=_RESPONSES | responses(403),
    summary="Stop sharing a task",
)
@strict_queries.changes
async def unshare_task(task: OwnedTask, context: ContextDep, caller: Caller) -> Json:
    await context.stores.tasks.set_share(task.id, None)
    log.info("task.unshared", task_id=task.id, user=task.user.id, by=caller.id)
    return Json({"msg": "Task is no longer shared"})


@router.get(
    "/task/{task_id}/token",
    response_model=Token,
    responses=_RESPONSES,
    summary="Get a task as a signed token (JWT) for services that share the secret",
)
async def get_task_token(task: VisibleTask, context: ContextDep) -> Json:
    document = (await tasks.documents(context, [task]))[0]
    secret = context.settings.shared_secret_passphrase.get_secret_value()
    return Json({"token": tokens.make_task(document, secret=secret, now=clock.now(), seconds=_TOKEN_SECONDS)})
