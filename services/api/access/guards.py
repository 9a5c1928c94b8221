"""
Dependencies that run a route only if the caller has the right to it. A new route takes one of them:

- `permitted(action)` for what belongs to nobody in particular,
- `user_for(action)` and `project_for(action)` for the user or the project of the path,
- `VisibleTask`, `ManagedTask` and `OwnedTask` for the task of the path.

`shared.auth.permissions` lists the actions and the roles that may perform them.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Header, Query

from services.api.access.callers import TOKEN_NEEDED, Caller, MaybeCaller
from services.api.context import Context, ContextDep
from services.api.http.path_params import ProjectId, TaskId, UserId
from shared import clock, errors
from shared.auth import permissions, share_tokens
from shared.auth.permissions import Action, Role
from shared.models.project import Project
from shared.models.task import Task
from shared.models.user import User


def permitted(action: Action) -> Any:
    """Make a dependency: the caller, if they may perform `action` on what belongs to nobody in particular."""

    async def check(caller: Caller) -> User:
        role = Role.ADMIN if caller.admin else Role.OTHER
        if not permissions.allows(role, action):
            raise errors.NotAllowed("only an admin may do this")
        return caller

    return Depends(check)


def user_for(action: Action) -> Any:
    """
    Make a dependency: the user of the path. Answers 403 without the right, whether or not the user exists, then 404.
    """

    async def find(user_id: UserId, context: ContextDep, caller: Caller) -> User:
        if not permissions.allows(permissions.role_towards_user(caller, user_id), action):
            raise errors.NotAllowed("only the user themselves or an admin may do this")
        user = await context.users.ask(user_id)
        if user is None:
            raise errors.NotFound(f"no user {user_id}")
        return user

    return Depends(find)


def project_for(action: Action) -> Any:
    """Make a dependency: the project of the path. Answers 404 to non-members, 403 to members without the right."""

    async def find(project_id: ProjectId, context: ContextDep, caller: Caller) -> Project:
        if not caller.admin and not permissions.allows(Role.OWNER, action):
            raise errors.NotAllowed("only an admin may do this")
        project = await context.stores.projects.get(project_id)
        if project is None:
            raise errors.NotFound(f"no project {project_id}")
        role = permissions.role_towards_project(caller, owner=project.owner, member=project.has(caller.id))
        if role is Role.OTHER:
            raise errors.NotFound(f"no project {project_id}")
        if not permissions.allows(role, action):
            raise errors.NotAllowed("only the project's owner or an admin may do this")
        return project

    return Depends(find)


_SHARE = "Share token of the task, instead of a user token"


def share_token(
    header: Annotated[str | None, Header(alias="X-GODOCKER-SHARE", max_length=256, description=_SHARE)] = None,
    query: Annotated[str | None, Query(alias="share", max_length=256, description=_SHARE)] = None,
) -> str | None:
    return header or query


async def visible_task(
    task_id: TaskId, context: ContextDep, caller: MaybeCaller, share: Annotated[str | None, Depends(share_token)]
) -> Task:
    """
    Return the task of the path if the caller, or the holder of a share token, may see it. Raises `errors.TaskNotFound`,
    and `errors.NotAuthenticated` without a user token and a share token.
    """
    if caller is None and share is None:
        raise errors.NotAuthenticated(TOKEN_NEEDED)
    return await _task_for(Action.SEE_TASK, context, task_id, caller, share)


async def managed_task(task_id: TaskId, context: ContextDep, caller: Caller) -> Task:
    """Return the task of the path if the caller may act on it. Raises `errors.TaskNotFound`."""
    # 404 in any case: a caller who may not act on a task may not see it either.
    return await _task_for(Action.MANAGE_TASK, context, task_id, caller, None)


async def owned_task(task_id: TaskId, context: ContextDep, caller: Caller) -> Task:
    """Return the task of the path if the caller may share it. Raises `errors.TaskNotFound` and `errors.NotAllowed`."""
    task = await managed_task(task_id, context, caller)
    if not permissions.allows(await _role(context, caller, task, None), Action.SHARE_TASK):
        raise errors.NotAllowed(f"only its owner may share task {task_id}")
    return task


async def task_of(context: Context, caller: User, task_id: int) -> Task:
    """Return a task that a body names, if the caller may see it. Raises `errors.TaskNotFound`."""
    return await _task_for(Action.SEE_TASK, context, task_id, caller, None)


async def _task_for(action: Action, context: Context, task_id: int, caller: User | None, share: str | None) -> Task:
    task = await context.stores.views.get(task_id)
    if task is None or not permissions.allows(await _role(context, caller, task, share), action):
        raise errors.TaskNotFound(task_id)
    return task


async def _role(context: Context, caller: User | None, task: Task, share: str | None) -> Role:
    if caller is not None:
        shares_project = await context.shares_project(caller, task)
        role = permissions.role_towards_task(caller, task, shares_project=shares_project)
        if role is not Role.OTHER:
            return role
    if share is not None and share_tokens.opens(share, task, now=clock.now()) and await context.is_active(task.user.id):
        return Role.SHARED
    return Role.ANONYMOUS if caller is None else Role.OTHER


VisibleTask = Annotated[Task, Depends(visible_task)]
ManagedTask = Annotated[Task, Depends(managed_task)]
OwnedTask = Annotated[Task, Depends(owned_task)]
