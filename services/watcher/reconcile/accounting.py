"""Usage rows from attempts that ended: pure."""

from __future__ import annotations

from services.watcher.reconcile.outcome import Outcome
from shared import clock
from shared.models.attempt_files import Result
from shared.models.task import Task
from shared.models.usage import UsageRow, row_id
from shared.models.work import Ended


def row_of(ended: Ended) -> UsageRow | None:
    """Return an attempt's usage; None for one that never ran. The same attempt always gives the same row."""
    if ended.started_at is None:
        return None
    return UsageRow(
        id=row_id(ended.id, ended.attempt),
        task=ended.id,
        attempt=ended.attempt,
        user=ended.user,
        project=ended.project,
        cpu=ended.cpus,
        ram=ended.ram,
        gpus=ended.gpus,
        started_at=ended.started_at,
        ended_at=ended.ended_at,
        seconds=max(0.0, ended.ended_at - ended.started_at),
        day=clock.day(ended.ended_at),
    )


def row_of_earlier(task: Task, attempt: int, result: Result | None) -> UsageRow | None:
    """Return the usage of an earlier attempt by its wrapper's files; None where they lack the beginning or the end."""
    if result is None or result.ended_at is None:
        return None
    return _row(task, attempt, result.started_at, result.ended_at)


def row_of_task(task: Task, outcome: Outcome) -> UsageRow | None:
    """Return the usage of a task's current attempt, which had this outcome."""
    return _row(task, task.attempt, outcome.started_at, outcome.ended_at)


def _row(task: Task, attempt: int, started_at: float | None, ended_at: float) -> UsageRow | None:
    return row_of(
        Ended(
            id=task.id,
            attempt=attempt,
            node=None,
            user=task.user.id,
            project=task.project,
            cpus=task.spec.cpu,
            ram=task.spec.ram,
            started_at=started_at,
            ended_at=ended_at,
            gpus=task.spec.gpus,
        )
    )
