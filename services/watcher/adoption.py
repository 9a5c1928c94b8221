"""What is to be written of runs that are ahead of what a restored backup says: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from services.watcher.reconcile import Known
from shared.executors.base import Handle, Observation
from shared.lifecycle import ACTIVE, TaskStatus
from shared.store.tasks import Transition

NOTE = "found on its node after a backup was restored"


def ahead(observed: Iterable[Observation], known: Mapping[int, Known]) -> list[Handle]:
    """
    The runs that are of a later attempt than is recorded of their task, the latest of each task. A task that is over has had
    its last attempt.
    """
    latest: dict[int, Handle] = {}
    for handle in (seen.handle for seen in observed):
        task, before = known.get(handle.task_id), latest.get(handle.task_id)
        if task is None or task.status not in ACTIVE or handle.attempt <= task.attempt:
            continue
        if before is None or before.attempt < handle.attempt:
            latest[handle.task_id] = handle
    return list(latest.values())


def step(handle: Handle, known: Known, *, executor: str, now: float) -> Transition:
    """
    The next move of a task that leads to its being recorded as this run: along the edges that there are, so by way of the queue,
    where it is not placed while a restored backup is held against the nodes.
    """
    if known.status is not TaskStatus.PENDING:
        fields: dict[str, object] = {"placement": None, "started_at": None}
        return Transition(
            handle.task_id, known.attempt, known.status, TaskStatus.PENDING, at=now, fields=fields, note=NOTE
        )
    where = {"node": handle.node, "executor": executor, "at": now, "epoch": 0, "gpus": [], "ports": [], "leases": []}
    return Transition(
        handle.task_id,
        known.attempt,
        known.status,
        TaskStatus.STARTING,
        at=now,
        next_attempt=handle.attempt,
        # What it waited for has come, or it would not have been started.
        fields={"placement": where, "started_at": None, "reason": None, "waiting_on": [], "not_before": None},
        note=NOTE,
    )
