"""Compare the recorded tasks of a node with the observed runs, and return actions for `enact` and `record_ends`: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.executors.types import Handle, Observation, RunState
from shared.lifecycle import ENDED, Ending, Intent, TaskStatus
from shared.models.work import Placed


@dataclass(frozen=True, slots=True)
class NoteRunning:
    """Record a task as running: it is recorded as starting, and its run runs."""

    task: Placed
    started_at: float | None


@dataclass(frozen=True, slots=True)
class NoteEnd:
    """Record the end of a run. The wrapper's files help to decide its outcome."""

    task: Placed
    seen: Observation
    final: bool = False  #: the observation is complete: neither the node nor the files are read again


@dataclass(frozen=True, slots=True)
class LookForMissing:
    """Check a task that is recorded as running and has no run: inspect once more, then read the wrapper's files."""

    task: Placed
    handle: Handle


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a run that is killed or rescheduled."""

    handle: Handle
    warn: bool = False  #: its lifespan is over, nobody asked for it: it gets a longer grace


@dataclass(frozen=True, slots=True)
class Pause:
    """Suspend a run at its owner's request."""

    handle: Handle


@dataclass(frozen=True, slots=True)
class Resume:
    """Resume a run at its owner's request."""

    handle: Handle


@dataclass(frozen=True, slots=True)
class NotePause:
    """Record that somebody else paused the run, or that it continued."""

    handle: Handle
    paused: bool


@dataclass(frozen=True, slots=True)
class RemoveStray:
    """Remove a run whose attempt is not, or no longer, a task's current one."""

    handle: Handle
    why: str


Action = NoteRunning | NoteEnd | LookForMissing | Stop | Pause | Resume | NotePause | RemoveStray


@dataclass(frozen=True, slots=True)
class Known:
    """The recorded state of a task that has a run and is not placed."""

    attempt: int
    status: TaskStatus
    settled: bool


def reconcile(
    recorded: Sequence[Placed],
    observed: Sequence[Observation],
    *,
    others: Mapping[int, Known],
    whole: bool,
) -> list[Action]:
    """
    Return the actions that make the record and the node agree.

    `recorded` must be read before `observed`: then a recorded run that is not observed is gone, not merely younger than the
    list. `others` must be read after it, for observed tasks that are not placed. `whole`: `observed` is the complete list of the
    node's runs, so a run that is not in it does not exist.
    """
    by_key = {(task.id, task.attempt): task for task in recorded}
    actions: list[Action] = []
    for seen in observed:
        task = by_key.pop((seen.handle.task_id, seen.handle.attempt), None)
        if task is not None:
            actions += _actions(task, seen)
        elif stray := _stray(seen, others.get(seen.handle.task_id)):
            actions.append(stray)
    if whole:
        actions += [_missing(task) for task in by_key.values() if task.status is TaskStatus.RUNNING]
    return actions


def _actions(task: Placed, seen: Observation) -> list[Action]:
    if seen.state is RunState.EXITED:
        return [NoteEnd(task, seen)]
    if seen.state is RunState.CREATED:
        return []  # the scheduler is about to start it, or will find that its start failed
    actions: list[Action] = []
    if task.status is TaskStatus.STARTING:
        actions.append(NoteRunning(task, seen.started_at))
    if task.intent is not None:
        actions += _by_intent(task, task.intent, seen.handle)
    elif task.status is TaskStatus.RUNNING:
        paused = seen.state is RunState.PAUSED and not task.suspended
        if paused != task.is_noted_paused:
            actions.append(NotePause(seen.handle, paused))
    return actions


def _by_intent(task: Placed, intent: Intent, handle: Handle) -> list[Action]:
    match intent:
        case Intent.KILL | Intent.RESCHEDULE:
            return [Stop(handle, warn=task.cause is not None and task.cause.ending is Ending.LIFESPAN_REACHED)]
        case Intent.SUSPEND:
            return [Pause(handle)]
        case Intent.RESUME:
            return [Resume(handle)]
    return []


def _stray(seen: Observation, known: Known | None) -> RemoveStray | None:
    if known is None:
        return RemoveStray(seen.handle, "there is no such task")
    if seen.handle.attempt < known.attempt:
        return RemoveStray(seen.handle, f"the task is at attempt {known.attempt}")
    if seen.handle.attempt > known.attempt and known.status in ENDED:
        return RemoveStray(seen.handle, f"the task is {known.status} since attempt {known.attempt}")
    if seen.handle.attempt > known.attempt or known.status in (TaskStatus.STARTING, TaskStatus.RUNNING):
        return None  # the task changed meanwhile; the next pass sees its new state
    if known.status in ENDED and not known.settled:
        return None  # its usage is not accounted yet: the settler removes it
    return RemoveStray(seen.handle, f"the task is {known.status}")


def _missing(task: Placed) -> LookForMissing:
    return LookForMissing(task, Handle(task.node, task.id, task.attempt, task.system))
