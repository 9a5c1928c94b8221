"""Usage rows from attempts that ended: pure."""

from __future__ import annotations

from services.watcher.outcome import Outcome
from shared import clock
from shared.models.task import Task
from shared.models.usage import UsageRow, row_id
from shared.store.work import Ended


def row_of(ended: Ended) -> UsageRow | None:
    """The usage of an attempt; None for one that never ran. The same attempt gives the same row, whoever asks when."""
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


def row_of_task(task: Task, found: Outcome) -> UsageRow | None:
    """The usage of the attempt that a task is at, which came to this."""
    return row_of(
        Ended(
            id=task.id,
            attempt=task.attempt,
            node=None,
            user=task.user.id,
            project=task.project,
            cpus=task.spec.cpu,
            ram=task.spec.ram,
            started_at=found.started_at,
            ended_at=found.ended_at,
            gpus=task.spec.gpus,
        )
    )
