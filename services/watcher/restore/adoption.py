"""Transitions for runs that are ahead of a restored backup: pure."""

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
    Return the runs whose attempt is later than the recorded one; for each task, only the latest. A task that is over gets
    no further attempt.
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
    """Return the names of the leases that a run needs. One that ended needs none."""
    if run.given is None or run.state is RunState.EXITED:
        return []
    return leases_of(run.handle.node, run.given.gpus, [mapping.host for mapping in run.given.ports])


def step(run: Observation, task: Task, *, executor: str, taken: Mapping[str, int], now: float) -> Transition:
    """
    Return the next transition towards recording this run as the task's attempt. The lifecycle leads through the queue; nothing
    is placed there during a census. `taken` maps leases to the other tasks that hold them: the run uses these devices or ports
    all the same, so they are recorded in its placement, and its reason says that they are shared.
    """
    if task.status is not TaskStatus.PENDING:
        return transitions.withdraw(task, note=NOTE, at=now)
    given, needed = run.given or Given(), leases(run)
    ports = {mapping.container: mapping.host for mapping in given.ports}
    where = {
        "node": run.handle.node,
        "executor": executor,
        "at": now,
        "epoch": 0,
        "gpus": list(given.gpus),
        "ports": [ports[inner] for inner in task.spec.ports if inner in ports],
        "leases": [lease for lease in needed if lease not in taken],
        "system": run.handle.system,
    }
    shared = [f"{lease}, which task {taken[lease]} holds" for lease in needed if lease in taken]
    reason = f"it runs with {'; '.join(shared)}" if shared else None
    note = f"{NOTE}; {reason}" if reason else NOTE
    return transitions.adopt(task, where, attempt=run.handle.attempt, reason=reason, note=note, at=now)


def undone(task: Task, result: Result | None, *, now: float) -> Transition:
    """
    Return the transition of a task that is recorded as starting, has no run, and whose ports or devices another run uses:
    starting it there again would hand them out twice. If it began, it has ended since, and reconciling finds that end.
    """
    if result is None:
        return transitions.withdraw(task, note=GONE, at=now)
    return transitions.adopt_ended(task, started_at=result.started_at, note=GONE, at=now)
