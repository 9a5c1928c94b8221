"""Compare what is recorded of a node with what its executor shows, and return what to do about it: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.executors.types import Handle, Observation, RunState
from shared.lifecycle import ENDED, Ending, Intent, TaskStatus
from shared.models.work import Placed


@dataclass(frozen=True, slots=True)
class NoteRunning:
    """It runs, and is still recorded as starting."""

    task: Placed
    started_at: float | None


@dataclass(frozen=True, slots=True)
class NoteEnd:
    """It ended. What that means is decided with what its wrapper left."""

    task: Placed
    seen: Observation
    believed: bool = False  #: its node knows nothing better, so it is not asked


@dataclass(frozen=True, slots=True)
class LookForMissing:
    """It is recorded as running, and there is no run: look once more, and for what its wrapper left."""

    task: Placed
    handle: Handle


@dataclass(frozen=True, slots=True)
class Stop:
    """It is to be killed, or to run from the start again."""

    handle: Handle
    warn: bool = False  #: nobody asked for it, its time is over: it is given longer to end by itself


@dataclass(frozen=True, slots=True)
class Pause:
    """Its owner wants it suspended."""

    handle: Handle


@dataclass(frozen=True, slots=True)
class Resume:
    """Its owner wants it to go on."""

    handle: Handle


@dataclass(frozen=True, slots=True)
class NotePause:
    """Somebody else paused it, or it goes on after that: its record does not say so yet."""

    handle: Handle
    paused: bool


@dataclass(frozen=True, slots=True)
class RemoveStray:
    """A run of an attempt that is not, or no longer, anybody's."""

    handle: Handle
    why: str


Action = NoteRunning | NoteEnd | LookForMissing | Stop | Pause | Resume | NotePause | RemoveStray


@dataclass(frozen=True, slots=True)
class Known:
    """What is recorded of a task that has a run and is not among the placed ones."""

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
    What to do so that record and reality agree.

    `recorded` was read before `observed` was: then a recorded run that is not observed is gone, and not just younger than
    the list. `others` was read after it, for observed tasks without a placed record. `whole`: `observed` is all there is on the
    node, so what is not in it is not there.
    """
    by_key = {(task.id, task.attempt): task for task in recorded}
    actions: list[Action] = []
    for seen in observed:
        task = by_key.pop((seen.handle.task_id, seen.handle.attempt), None)
        if task is not None:
            actions += _judge(task, seen)
        elif stray := _stray(seen, others.get(seen.handle.task_id)):
            actions.append(stray)
    if whole:
        actions += [_missing(task) for task in by_key.values() if task.status is TaskStatus.RUNNING]
    return actions


def _judge(task: Placed, seen: Observation) -> list[Action]:
    if seen.state is RunState.EXITED:
        return [NoteEnd(task, seen)]
    if seen.state is RunState.CREATED:
        return []  # the scheduler is about to start it, or will find that it did not
    actions: list[Action] = []
    if task.status is TaskStatus.STARTING:
        actions.append(NoteRunning(task, seen.started_at))
    if task.intent is not None:
        actions += _wanted(task, task.intent, seen.handle)
    elif task.status is TaskStatus.RUNNING:
        paused = seen.state is RunState.PAUSED and not task.suspended
        if paused != task.is_told_paused:
            actions.append(NotePause(seen.handle, paused))
    return actions


def _wanted(task: Placed, intent: Intent, handle: Handle) -> list[Action]:
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
        return None  # it moved on while we looked; the next pass sees it in its place
    if known.status in ENDED and not known.settled:
        return None  # its usage is not counted yet: settling removes it
    return RemoveStray(seen.handle, f"the task is {known.status}")


def _missing(task: Placed) -> LookForMissing:
    return LookForMissing(task, Handle(task.node, task.id, task.attempt, task.system))
