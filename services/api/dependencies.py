"""Who is asking, and which task they mean."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Path
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.api import context
from services.api.context import Context
from shared import errors
from shared.auth import permissions, tokens
from shared.models.task import Task
from shared.models.user import User

Here = Annotated[Context, Depends(context.of)]

_bearer = HTTPBearer(auto_error=False, description="The token that `POST /api/1.0/authenticate` gives.")


async def caller(here: Here, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> User:
    """The user a request's token speaks for, as they are now. Raises `errors.NotAuthenticated`."""
    if credentials is None:
        raise errors.NotAuthenticated("a token is needed: Authorization: Bearer <token>")
    secret = here.settings.secret_passphrase.get_secret_value()
    session = tokens.read_session(credentials.credentials, secret=secret)
    user = await here.users.ask(session.user)
    if user is None or not user.active:
        raise errors.NotAuthenticated("the user of this token is not there any more, or not active")
    if not hmac.compare_digest(tokens.fingerprint(user.apikey.hash), session.key):
        raise errors.NotAuthenticated("the token was given for an API key that has been replaced")
    return user


Caller = Annotated[User, Depends(caller)]
TaskId = Annotated[int, Path(ge=1, le=2**53, description="The task's number")]


async def visible_task(task_id: TaskId, here: Here, user: Caller) -> Task:
    """The task of the path, if the caller may see it. Raises `errors.TaskNotFound`."""
    task = await here.stores.views.get(task_id)
    if task is None or not permissions.may_see_task(user, task):
        raise errors.TaskNotFound(task_id)
    return task


async def managed_task(task: Annotated[Task, Depends(visible_task)], user: Caller) -> Task:
    """The task of the path, if the caller may act on it. Raises `errors.TaskNotFound` and `errors.NotAllowed`."""
    if not permissions.may_manage_task(user, task):
        raise errors.NotAllowed(f"task {task.id} is not yours")
    return task


Visible = Annotated[Task, Depends(visible_task)]
Managed = Annotated[Task, Depends(managed_task)]
