"""The table of permissions that every route checks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from shared.models.task import Task
from shared.models.user import User


class Role(StrEnum):
    """Relation of a caller to an object. Of several, the strongest (last) counts."""

    ANONYMOUS = "anonymous"  #: no session
    SHARED = "shared"  #: holds a share token of this task
    OTHER = "other"  #: a user without a relation to it
    MEMBER = "member"  #: member of its project, where members share
    OWNER = "owner"
    ADMIN = "admin"


class Action(StrEnum):
    """Kinds of requests that have the same permission."""

    SEE_PUBLIC = "see_public"  #: configuration, images, usage of the nodes, counts, ping
    ACT_FOR_ONESELF = "act_for_oneself"  #: requests of any user in their own name: submit, list one's own
    SUBMIT_AS = "submit_as"  #: submit a task that runs as that user
    SEE_TASK = "see_task"  #: with its files
    MANAGE_TASK = "manage_task"  #: kill, suspend, release, change, archive
    SHARE_TASK = "share_task"
    SEE_ALL_TASKS = "see_all_tasks"
    SEE_USER = "see_user"  #: with usage, billing, personal files
    CHANGE_USER = "change_user"  #: email, keys, personal files, kill all tasks
    ADMINISTER_USER = "administer_user"  #: list, delete, activate, quotas
    SEE_PROJECT = "see_project"
    SEE_PROJECT_USAGE = "see_project_usage"
    CHANGE_PROJECT = "change_project"
    ADMINISTER_PROJECT = "administer_project"  #: create, delete, quotas, priority
    CHANGE_RECIPE = "change_recipe"
    ADMINISTER_SYSTEM = "administer_system"  #: maintenance


_EVERYBODY = frozenset(Role)
_USERS = frozenset({Role.OTHER, Role.MEMBER, Role.OWNER, Role.ADMIN})
_OWN = frozenset({Role.OWNER, Role.ADMIN})
_TEAM = frozenset({Role.MEMBER, Role.OWNER, Role.ADMIN})
_ADMIN = frozenset({Role.ADMIN})

ALLOWED: Mapping[Action, frozenset[Role]] = {
    Action.SEE_PUBLIC: _EVERYBODY,
    Action.ACT_FOR_ONESELF: _USERS,
    Action.SUBMIT_AS: _OWN,
    Action.SEE_TASK: _TEAM | {Role.SHARED},
    Action.MANAGE_TASK: _TEAM,
    Action.SHARE_TASK: _OWN,
    Action.SEE_ALL_TASKS: _ADMIN,
    Action.SEE_USER: _OWN,
    Action.CHANGE_USER: _OWN,
    Action.ADMINISTER_USER: _ADMIN,
    Action.SEE_PROJECT: _OWN,
    Action.SEE_PROJECT_USAGE: _TEAM,
    Action.CHANGE_PROJECT: _OWN,
    Action.ADMINISTER_PROJECT: _ADMIN,
    Action.CHANGE_RECIPE: _OWN,
    Action.ADMINISTER_SYSTEM: _ADMIN,
}


def allows(role: Role, action: Action) -> bool:
    """Return whether `role` may perform `action`."""
    return role in ALLOWED[action]


def role_towards_task(caller: User, task: Task, *, shares_project: bool = False) -> Role:
    """
    Return the role of a caller towards a task. `shares_project`: the caller is in the task's project, whose members share
    tasks.
    """
    if caller.admin:
        return Role.ADMIN
    if task.user.id == caller.id:
        return Role.OWNER
    return Role.MEMBER if shares_project else Role.OTHER


def role_towards_user(caller: User, user_id: str) -> Role:
    if caller.admin:
        return Role.ADMIN
    return Role.OWNER if caller.id == user_id else Role.OTHER


def role_towards_project(caller: User, *, owner: str | None, member: bool) -> Role:
    if caller.admin:
        return Role.ADMIN
    if owner is not None and owner == caller.id:
        return Role.OWNER
    return Role.MEMBER if member else Role.OTHER
