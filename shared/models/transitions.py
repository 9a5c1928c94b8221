"""
Transitions along the edges of a task's lifecycle, one constructor per kind: pure.

`TaskStore.transition` writes them by compare-and-set. All times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared.lifecycle import Ending, Intent, IntentResult, TaskStatus
from shared.models.task import Purge, Task
from shared.models.work import Pending, Placed

_ANY_BUT_KILL = (None, Intent.SUSPEND, Intent.RESUME)


@dataclass(frozen=True, slots=True)
class Transition:
    """
    One step along an edge: from `old` at `attempt` to `new`, setting `fields`. `next_attempt` is the number of the
    attempt that it begins, if any. With `intents`, it applies only while the task's intent is among them (the entry None:
    no intent); without, always. `note` goes into the task's history, `about` into the log line.
    """

    task_id: int
    attempt: int
    old: TaskStatus
    new: TaskStatus
    at: float
    fields: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None
    next_attempt: int | None = None
    intents: Sequence[Intent | None] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


# --- before a placement -----------------------------------------------------------------


def release(task: Task, *, at: float) -> Transition:
    """Release a held task into the queue. Writes `queued_at`."""
    return Transition(
        task.id, task.attempt, TaskStatus.CREATED, TaskStatus.PENDING, at=at, fields={"queued_at": at}, intents=[None]
    )


def end_unplaced(
    task_id: int,
    attempt: int,
    old: TaskStatus,
    *,
    ending: Ending,
    reason: str,
    at: float,
    exit_code: int | None = None,
    intents: Sequence[Intent | None] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Transition:
    """
    End a task that holds no resources. Writes `ending, reason, ended_at, intent, settled`, and `exit_code` if given. Nothing ran,
    so there is nothing to settle.
    """
    fields: dict[str, Any] = {
        "ending": ending,
        "reason": reason,
        "ended_at": at,
        "intent": None,
        "settled": True,
    }
    if exit_code is not None:
        fields["exit_code"] = exit_code
    return Transition(
        task_id, attempt, old, TaskStatus.OVER, at=at, fields=fields, note=reason, intents=intents, about=about or {}
    )


def end_array(parent: Task, *, fields: Mapping[str, Any], ended_at: float, was_killed: bool, at: float) -> Transition:
    """
    End the parent of an array whose children are all over. Writes `ended_at, intent, settled` and `fields` (the counts and the
    ending). It fails if a kill was requested or withdrawn since `was_killed` was read.
    """
    return Transition(
        parent.id,
        parent.attempt,
        parent.status,
        TaskStatus.OVER,
        at=at,
        fields={"ended_at": ended_at, "intent": None, "settled": True, **fields},
        about={"user": parent.user.id, "request": parent.request},
        intents=[Intent.KILL] if was_killed else _ANY_BUT_KILL,
    )


# --- placement and start ----------------------------------------------------------------


def place(task: Pending, placement: Mapping[str, Any], *, at: float) -> Transition:
    """
    Place a pending task and begin its next attempt. Writes `placement`, with the keys `node, executor, at, epoch, gpus, ports,
    leases, system`, and clears `started_at, reason`. A task with an intent is not placed.
    """
    return Transition(
        task.id,
        task.attempt,
        TaskStatus.PENDING,
        TaskStatus.STARTING,
        at=at,
        next_attempt=task.attempt + 1,
        fields={"placement": dict(placement), "started_at": None, "reason": None},
        note=f"placed on {placement['node']}",
        intents=[None],
    )


def run(task: Placed | Task, *, started_at: float, at: float) -> Transition:
    """Record a starting attempt as running. Writes `started_at`."""
    return Transition(
        task.id,
        task.attempt,
        TaskStatus.STARTING,
        TaskStatus.RUNNING,
        at=at,
        fields={"started_at": started_at},
        about=about(task),
    )


def undo_start(task: Task, *, reason: str, not_before: float | None, at: float) -> Transition:
    """Requeue a task whose start failed for no fault of its own. Writes `placement, started_at, not_before, reason`."""
    fields = {
        "placement": None,
        "started_at": None,
        "not_before": not_before,
        "reason": f"its start was undone: {reason}",
    }
    return Transition(
        task.id,
        task.attempt,
        TaskStatus.STARTING,
        TaskStatus.PENDING,
        at=at,
        fields=fields,
        note=reason,
        about=about(task),
    )


def end_start(
    task: Task,
    *,
    ending: Ending,
    reason: str,
    at: float,
    note: str | None = None,
    exit_code: int | None = None,
    intents: Sequence[Intent | None] | None = None,
) -> Transition:
    """End a starting attempt that never ran. Writes the fields of `end_unplaced`; `note` defaults to `reason`."""
    ended = end_unplaced(
        task.id,
        task.attempt,
        TaskStatus.STARTING,
        ending=ending,
        reason=reason,
        at=at,
        exit_code=exit_code,
        intents=intents,
        about=about(task),
    )
    return ended if note is None else replace(ended, note=note)


# --- after a start ----------------------------------------------------------------------


def finish(
    task: Placed,
    *,
    ending: Ending,
    exit_code: int | None,
    reason: str | None,
    started_at: float | None,
    ended_at: float,
    at: float,
    failure: Mapping[str, Any] | None = None,
) -> Transition:
    """
    End an attempt that ran. Writes `ending, exit_code, reason, started_at, ended_at`, clears `intent` and `cause`, and leaves
    `settled` false: its usage has to be accounted and its run removed. `failure` is the record of node failures, if it changed.
    """
    fields: dict[str, Any] = {
        "ending": ending,
        "exit_code": exit_code,
        "reason": reason,
        "started_at": started_at,
        "ended_at": ended_at,
        "intent": None,
        "cause": None,
        "settled": False,
    }
    if failure is not None:
        fields["failure"] = failure
    return Transition(
        task.id, task.attempt, task.status, TaskStatus.OVER, at=at, fields=fields, note=reason, about=about(task)
    )


def requeue(task: Placed, fields: Mapping[str, Any], *, note: str, expected: Intent | None, at: float) -> Transition:
    """
    Requeue a placed task for another attempt. Clears `started_at, cause` and the intent, writes `remark` and `fields`. It applies
    only while the intent is `expected`: a kill requested meanwhile must not be lost.
    """
    cleared = {
        "started_at": None,
        "intent": None,
        "intent_at": None,
        "intent_by": None,
        "cause": None,
        "remark": IntentResult.RESCHEDULED,
    }
    return Transition(
        task.id,
        task.attempt,
        task.status,
        TaskStatus.PENDING,
        at=at,
        fields={**cleared, **fields},
        note=note,
        intents=[expected],
    )


def archive(task_id: int, attempt: int, *, at: float, note: str | None = None) -> Transition:
    """Archive a task that is over: its files are purged later, its record stays. Writes `purge`, clears `share`."""
    fields = {"purge": Purge.FILES, "share": None}
    return Transition(task_id, attempt, TaskStatus.OVER, TaskStatus.ARCHIVED, at=at, fields=fields, note=note)


# --- after a restored backup ------------------------------------------------------------


def withdraw(task: Task, *, note: str, at: float) -> Transition:
    """Requeue a task whose recorded run does not exist. Clears `placement, started_at`."""
    fields = {"placement": None, "started_at": None}
    return Transition(task.id, task.attempt, task.status, TaskStatus.PENDING, at=at, fields=fields, note=note)


def adopt(
    task: Task, placement: Mapping[str, Any], *, attempt: int, reason: str | None, note: str, at: float
) -> Transition:
    """
    Record a run that was found on a node as `attempt` of a pending task. Writes `placement, reason`, clears `started_at`, and
    `waiting_on, not_before`, which allowed the start.
    """
    return Transition(
        task.id,
        task.attempt,
        task.status,
        TaskStatus.STARTING,
        at=at,
        next_attempt=attempt,
        fields={
            "placement": dict(placement),
            "started_at": None,
            "reason": reason,
            "waiting_on": [],
            "not_before": None,
        },
        note=note,
    )


def adopt_ended(task: Task, *, started_at: float | None, note: str, at: float) -> Transition:
    """
    Record a starting attempt as running, without its leases, when its wrapper has begun and its run is gone: reconciling then
    records the end. Writes `placement.leases, started_at`.
    """
    fields: dict[str, Any] = {"placement.leases": [], "started_at": started_at}
    return Transition(task.id, task.attempt, task.status, TaskStatus.RUNNING, at=at, fields=fields, note=note)


# ----------------------------------------------------------------------------------------


def about(task: Placed | Task) -> dict[str, Any]:
    """Return the log fields of a placed task's transition: `user, node, request`."""
    if isinstance(task, Placed):
        return {"user": task.user, "node": task.node, "request": task.request}
    node = task.placement.node if task.placement else None
    return {"user": task.user.id, "node": node, "request": task.request}
