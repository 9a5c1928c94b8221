"""Words for the end of a task that somebody asked to be killed: pure."""

from __future__ import annotations

_NOT_RECORDED = "its owner or an admin"


def reason(by: str | None) -> str:
    """Why a run was stopped. `by` is the user who asked for it, None where that was not recorded."""
    return f"killed by {by or _NOT_RECORDED}"


def before_start(by: str | None) -> str:
    """Why a task that waited never ran."""
    return f"killed by {by} before it was started" if by else "killed before it was started"


def rescheduled(by: str | None) -> str:
    """Why a task is back in the queue."""
    return f"rescheduled by {by or _NOT_RECORDED}"
