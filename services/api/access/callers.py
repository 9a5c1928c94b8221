"""Find out who is asking, and which task they mean."""

from __future__ import annotations

import hmac
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.api import context
from services.api.context import Context
from shared import clock, errors
from shared.auth import permissions, share_tokens, tokens
from shared.auth.permissions import Action, Role
from shared.models.task import Task
from shared.models.user import User


async def _here(request: Request) -> Context:
    return context.of(request)


Here = Annotated[Context, Depends(_here)]

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="User_token",
    description="User token: what `POST /api/1.0/authenticate` answers. **This is the one you need.**",
)


async def caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> User:
    """The user a request's token speaks for, as they are now. Raises `errors.NotAuthenticated`."""
    if credentials is None:
        raise errors.NotAuthenticated("a token is needed: Authorization: Bearer <token>")
    here = context.of(request)
    secret = here.settings.secret_passphrase.get_secret_value()
    session = tokens.read_session(credentials.credentials, secret=secret)
    user = await here.users.ask(session.user)
    if user is None or not user.active:
        raise errors.NotAuthenticated("the user of this token is not there any more, or not active")
    # As bytes: texts with other letters than ASCII cannot be compared so.
    if not hmac.compare_digest(tokens.fingerprint(user.apikey.hash, user.shut_outs).encode(), _bytes(session.key)):
        raise errors.NotAuthenticated("the token is from before the user's API key was replaced, or they were shut out")
    return user


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


async def maybe_caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> User | None:
    """The caller; None where there is no token at all. A bad one is refused all the same."""
    return None if credentials is None else await caller(request, credentials)


Caller = Annotated[User, Depends(caller)]
MaybeCaller = Annotated[User | None, Depends(maybe_caller)]
TaskId = Annotated[int, Path(ge=1, le=2**53, description="Number of the task")]


_SHARE = "Share token of the task, instead of a user token"


def _share_token(
    header: Annotated[str | None, Header(alias="X-GODOCKER-SHARE", max_length=256, description=_SHARE)] = None,
    query: Annotated[str | None, Query(alias="share", max_length=256, description=_SHARE)] = None,
) -> str | None:
    return header or query


async def visible_task(
    task_id: TaskId, here: Here, user: MaybeCaller, share: Annotated[str | None, Depends(_share_token)]
) -> Task:
    """
    The task of the path, if the caller, or who holds a share token of it, may see it. Raises `errors.TaskNotFound`, and
    `errors.NotAuthenticated` where there is neither session nor share token.
    """
    if user is None and share is None:
        raise errors.NotAuthenticated("a token is needed: Authorization: Bearer <token>")
    task = await here.stores.views.get(task_id)
    if task is None or not permissions.allows(await _role(here, user, task, share), Action.SEE_TASK):
        raise errors.TaskNotFound(task_id)
    return task


async def managed_task(task_id: TaskId, here: Here, user: Caller) -> Task:
    """The task of the path, if the caller may act on it. Raises `errors.TaskNotFound`."""
    task = await here.stores.views.get(task_id)
    if task is None or not permissions.allows(await _role(here, user, task, None), Action.MANAGE_TASK):
        # Whoever may not act on it may not see it either.
        raise errors.TaskNotFound(task_id)
    return task


async def owned_task(task_id: TaskId, here: Here, user: Caller) -> Task:
    """The task of the path, if the caller may give it to others. Raises `errors.TaskNotFound` and `errors.NotAllowed`."""
    task = await managed_task(task_id, here, user)
    if not permissions.allows(await _role(here, user, task, None), Action.SHARE_TASK):
        raise errors.NotAllowed(f"only its owner may share task {task_id}")
    return task


async def _role(here: Context, user: User | None, task: Task, share: str | None) -> Role:
    if user is not None:
        shares_project = await here.shares_project(user, task)
        role = permissions.role_towards_task(user, task, shares_project=shares_project)
        if role is not Role.OTHER:
            return role
    if share is not None and share_tokens.opens(share, task, now=clock.now()) and await here.is_active(task.user.id):
        return Role.SHARED
    return Role.ANONYMOUS if user is None else Role.OTHER


def permitted(action: Action) -> Any:
    """A dependency: the caller, if an admin or whoever else the table allows `action` towards nothing of anybody's."""

    async def check(user: Caller) -> User:
        role = Role.ADMIN if user.admin else Role.OTHER
        if not permissions.allows(role, action):
            raise errors.NotAllowed("only an admin may do this")
        return user

    return Depends(check)


Visible = Annotated[Task, Depends(visible_task)]
Managed = Annotated[Task, Depends(managed_task)]
Owned = Annotated[Task, Depends(owned_task)]
