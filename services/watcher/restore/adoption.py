"""Transitions for runs that are ahead of what a restored backup says: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from services.watcher.reconcile.diff import Known
from shared.executors.types import Given, Handle, Observation, RunState
from shared.lifecycle import ACTIVE, TaskStatus
from shared.models import transitions
from shared.models.attempt_files import Result
from shared.models.task import Task, leases_of
from shared.models.transitions import Transition

NOTE = "found on its node after a backup was restored"
GONE = "not on its node after a backup was restored"


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


def leases(run: Observation) -> list[str]:
    """What of its node a run keeps from others, by name. One that ended keeps nothing."""
    if run.given is None or run.state is RunState.EXITED:
        return []
    return leases_of(run.handle.node, run.given.gpus, [mapping.host for mapping in run.given.ports])


def step(run: Observation, task: Task, *, executor: str, taken: Mapping[str, int], now: float) -> Transition:
    """
    The next move of a task that leads to its being recorded as this run: along the edges that there are, so by way of the queue,
    where it is not placed while a restored backup is held against the nodes. `taken` says which leases other tasks hold: it
    runs with what they are for all the same, so it is counted as its own, and is said to be shared.
    """
    if task.status is not TaskStatus.PENDING:
        return transitions.withdraw(task, note=NOTE, at=now)
    given, wanted = run.given or Given(), leases(run)
    ports = {mapping.container: mapping.host for mapping in given.ports}
    where = {
        "node": run.handle.node,
        "executor": executor,
        "at": now,
        "epoch": 0,
        "gpus": list(given.gpus),
        "ports": [ports[inner] for inner in task.spec.ports if inner in ports],
        "leases": [lease for lease in wanted if lease not in taken],
        "system": run.handle.system,
    }
    shared = [f"{lease}, which task {taken[lease]} holds" for lease in wanted if lease in taken]
    reason = f"it runs with {'; '.join(shared)}" if shared else None
    note = f"{NOTE}; {reason}" if reason else NOTE
    return transitions.adopt(task, where, attempt=run.handle.attempt, reason=reason, note=note, at=now)


def undone(task: Task, result: Result | None, *, now: float) -> Transition:
    """
    What becomes of a task that is recorded as starting, whose run is not there and whose ports or devices another one has: to
    start it again there would give them twice. If it has begun, it has ended since, as is found like any other end.
    """
    if result is None:
        return transitions.withdraw(task, note=GONE, at=now)
    return transitions.adopt_ended(task, started_at=result.started_at, note=GONE, at=now)
