"""Who may do what to whose: pure answers, asked by every route."""

from __future__ import annotations

from shared.models.task import Task
from shared.models.user import User


def may_see_task(caller: User, task: Task) -> bool:
    """Owner and admins. To everybody else a task does not exist."""
    return caller.admin or task.user.id == caller.id


def may_manage_task(caller: User, task: Task) -> bool:
    """Kill it, hold it back, let it go: owner and admins."""
    return caller.admin or task.user.id == caller.id


def may_submit_as(caller: User, user_id: str) -> bool:
    """Send a task that runs as `user_id`: oneself, and admins for anybody."""
    return caller.admin or user_id == caller.id
