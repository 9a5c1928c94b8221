"""Sentences about tasks that were killed or rescheduled on request: pure."""

from __future__ import annotations

_NOT_RECORDED = "its owner or an admin"


def reason(by: str | None) -> str:
    """Return why a run was stopped. `by` is the user who requested it, None if not recorded."""
    return f"killed by {by or _NOT_RECORDED}"


def before_start(by: str | None) -> str:
    """Return why a pending task never ran."""
    return f"killed by {by} before it was started" if by else "killed before it was started"


def rescheduled(by: str | None) -> str:
    """Return why a task is back in the queue."""
    return f"rescheduled by {by or _NOT_RECORDED}"
