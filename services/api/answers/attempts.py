"""List the attempts of a task from its recorded transitions: pure."""

from __future__ import annotations

import re
from typing import Any

from shared.lifecycle import ENDED, PLACED, TaskStatus
from shared.models.task import Task

_PLACED_ON = re.compile(r"placed on (.+)")  # note of earlier versions, which did not store the node separately


def of(task: Task) -> list[dict[str, Any]]:
    """
    Return the attempts in order, in the form of `services.api.wire.attempt.AttemptOut`. The earliest are missing
    if there were more transitions than are kept (`shared.store.tasks.tasks.HISTORY`).
    """
    attempts: dict[int, dict[str, Any]] = {}
    queued_at = task.submitted_at
    for entry in task.history:
        status, number, at = entry.get("status"), entry.get("attempt"), entry.get("at")
        if not isinstance(number, int) or not isinstance(at, int | float):
            continue
        if status == TaskStatus.PENDING:
            queued_at = at
        attempt = attempts.get(number)
        if attempt is None:
            if status != TaskStatus.STARTING:
                continue
            attempt = attempts[number] = _begun(task, number, entry, queued_at)
        _add(attempt, entry)
    latest = attempts.get(task.attempt)
    if latest is not None and task.status in PLACED | ENDED:
        latest["executor"] = task.placement.executor if task.placement else None
        latest["started_at"] = task.started_at
        if task.status in ENDED:
            latest |= {"ended_at": task.ended_at, "exit_code": task.exit_code, "ending": task.ending}
        latest["reason"] = task.reason
    return [attempts[number] for number in sorted(attempts)]


def _begun(task: Task, number: int, entry: dict[str, Any], queued_at: float) -> dict[str, Any]:
    note = _PLACED_ON.fullmatch(str(entry.get("note") or ""))
    log = f"/api/1.0/task/{task.id}/log?attempt={number}&stream="
    return {
        "attempt": number,
        "node": entry.get("node") or (note[1] if note else None),
        "executor": None,
        "queued_at": queued_at,
        "placed_at": entry["at"],
        "started_at": None,
        "ended_at": None,
        "exit_code": None,
        "ending": None,
        "reason": None,
        "log": {"out": f"{log}out", "err": f"{log}err"},
    }


def _add(attempt: dict[str, Any], entry: dict[str, Any]) -> None:
    """Add the fields of a later transition to the attempt."""
    status = entry["status"]
    if status == TaskStatus.RUNNING:
        attempt["started_at"] = entry.get("started_at", entry["at"])
    elif status in (TaskStatus.PENDING, TaskStatus.OVER):
        attempt["ended_at"] = entry.get("ended_at", entry["at"])
        attempt["exit_code"], attempt["ending"] = entry.get("exit_code"), entry.get("ending")
        attempt["reason"] = entry.get("note")
