"""How an attempt ended, from what its node says and what its wrapper left: pure."""

from __future__ import annotations

from dataclasses import dataclass

from shared.executors import wrapper
from shared.executors.base import Observation
from shared.lifecycle import Ending, Intent
from shared.storage.directories import Result
from shared.store.work import Placed

KILLED = 128 + 9  #: exit code of what SIGKILL ended, and by contract of every killed task

#: Exit codes that may not be the command's own: the wrapper's, the shell's, a signal's, or the engine's word for "I do not know".
DOUBTFUL_FROM = 125


@dataclass(frozen=True, slots=True)
class Outcome:
    """`started_at` and `ended_at` are seconds since the epoch; `started_at` None: the command never began."""

    ending: Ending
    exit_code: int | None
    reason: str | None
    started_at: float | None
    ended_at: float
    again: bool = False  #: the task is to run once more: nothing but the times and the usage is kept of this attempt


def is_doubtful(seen: Observation) -> bool:
    """Whether the exit code has to be held against what the wrapper left."""
    return seen.exit_code is None or seen.exit_code >= DOUBTFUL_FROM


def of_exit(task: Placed, seen: Observation, result: Result | None, *, looked: bool, now: float) -> Outcome:
    """
    The outcome of a run that ended. `result` is what its wrapper left, `looked` whether it was looked for (it need not
    be where the exit code is beyond doubt).
    """
    ended_at = seen.ended_at or (result.ended_at if result else None) or now
    began = task.started_at or seen.started_at or (result.started_at if result else None)
    started_at = min(began, ended_at) if began is not None else ended_at
    code = _exit_code(seen, result)
    if task.intent is Intent.KILL and (task.intent_at is None or ended_at >= task.intent_at):
        return Outcome(Ending.KILLED, KILLED, "killed by its owner or an admin", started_at, ended_at)
    if task.intent is Intent.RESCHEDULE and (task.intent_at is None or ended_at >= task.intent_at):
        return Outcome(Ending.KILLED, KILLED, "rescheduled", started_at, ended_at, again=True)
    if looked and result is None and (reason := _never_began(task, seen)):
        return Outcome(Ending.START_FAILED, code, reason, None, ended_at)
    if seen.out_of_memory and code != 0:
        reason = f"out of memory: it used more than the {task.memory / 1024**3:g} GB it asked for"
        return Outcome(Ending.OUT_OF_MEMORY, code, reason, started_at, ended_at)
    reason = "ended by a signal from outside" if code == KILLED else None
    return Outcome(Ending.EXITED, code, reason, started_at, ended_at)


def of_missing(task: Placed, result: Result | None, *, now: float) -> Outcome:
    """The outcome of a run that is not there any more."""
    began = task.started_at or (result.started_at if result else None)
    if task.intent is Intent.KILL:
        return Outcome(Ending.KILLED, KILLED, "killed by its owner or an admin", began, now)
    if task.intent is Intent.RESCHEDULE:
        return Outcome(Ending.KILLED, KILLED, "rescheduled", began, now, again=True)
    if result is not None and result.exit_code is not None:
        reason = "its container was removed by somebody else; the exit code is the one it left in its directory"
        return Outcome(Ending.EXITED, result.exit_code, reason, began, result.ended_at or now)
    return Outcome(Ending.LOST, KILLED, "its container was removed by somebody else while it ran", began, now)


def _exit_code(seen: Observation, result: Result | None) -> int | None:
    """The command's exit code. The wrapper's word counts where the engine's is doubtful."""
    if seen.exit_code is not None and seen.exit_code < DOUBTFUL_FROM:
        return seen.exit_code
    if result is not None and result.exit_code is not None:
        return result.exit_code
    if seen.exit_code == wrapper.TAKEN and result is not None:
        return KILLED  # a second start found the attempt taken; of the first there is no end
    return seen.exit_code


def _never_began(task: Placed, seen: Observation) -> str | None:
    """Why a run whose wrapper left no trace never began; None where it may well have been killed first."""
    if seen.exit_code == 127:
        return f"the image {task.image} has no /bin/sh, which is needed to run the command"
    if seen.exit_code == wrapper.TAKEN:
        return "the task's directory could not be written to from the container"
    return None
