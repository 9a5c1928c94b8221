"""The user or the project of a path, if the caller may do with it what they ask."""

from __future__ import annotations

from typing import Any

from fastapi import Depends

from services.api.access.callers import Caller, Here
from services.api.wire.fields import ProjectId, UserId
from shared import errors
from shared.auth import permissions
from shared.auth.permissions import Action, Role
from shared.models.project import Project
from shared.models.user import User


def user_for(action: Action) -> Any:
    """A dependency: the user of the path. 403 without the right, whether or not there is such a user; then 404."""

    async def find(user_id: UserId, here: Here, caller: Caller) -> User:
        if not permissions.allows(permissions.role_towards_user(caller, user_id), action):
            raise errors.NotAllowed("only the user themselves or an admin may do this")
        found = await here.users.ask(user_id)
        if found is None:
            raise errors.NotFound(f"no user {user_id}")
        return found

    return Depends(find)


def project_for(action: Action) -> Any:
    """A dependency: the project of the path. Who is not in it is told that there is none, who is, what they may not."""

    async def find(project_id: ProjectId, here: Here, caller: Caller) -> Project:
        if not caller.admin and not permissions.allows(Role.OWNER, action):
            raise errors.NotAllowed("only an admin may do this")
        project = await here.stores.projects.get(project_id)
        if project is None:
            raise errors.NotFound(f"no project {project_id}")
        role = permissions.role_towards_project(caller, owner=project.owner, member=project.has(caller.id))
        if role is Role.OTHER:
            raise errors.NotFound(f"no project {project_id}")
        if not permissions.allows(role, action):
            raise errors.NotAllowed("only the project's owner or an admin may do this")
        return project

    return Depends(find)
