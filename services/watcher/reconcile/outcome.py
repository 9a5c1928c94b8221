"""How an attempt ended, from what its node says and what its wrapper left: pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.watcher.reconcile import reasons
from shared.executors.types import Boot, Circumstances, Observation
from shared.lifecycle import STOPPING, Ending, Intent
from shared.models import attempt_files
from shared.models.attempt_files import Result, Word
from shared.models.work import Placed
from shared.rules.exit_codes import EXIT_KILLED, EXIT_TERMINATED
from shared.units import durations
from shared.units.sizes import GB
from shared.wording import kills

#: Exit codes that may not be the command's own: the wrapper's, the shell's, a signal's, or the engine's word for "I do not know".
DOUBTFUL_FROM = 125

#: What an engine leaves of a run that it ended because it ended itself: by signals, or found dead at its next start.
_ENGINE_CODES = frozenset({EXIT_TERMINATED, EXIT_KILLED, 255, None})

_TICK = 0.01  #: seconds by which the time of a file may lie before its writing: it is that of the kernel's last tick

_REMOVED = "its container was removed by somebody else while it ran"


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


def may_never_have_begun(seen: Observation) -> bool:
    """Whether it is to be asked if the image could run a shell: init ends with these codes where it could not."""
    return seen.exit_code in (1, 126, 127)


def may_be_anothers_doing(task: Placed, seen: Observation) -> bool:
    """Whether it is to be asked what somebody else did with the run."""
    return is_doubtful(seen) and not seen.out_of_memory and not seen.removed and task.intent not in STOPPING


def may_be_the_node(task: Placed, seen: Observation, result: Result | None) -> bool:
    """Whether it has to be asked when the node last began anew, to tell its failure from the command's."""
    return (
        is_doubtful(seen)
        and (seen.exit_code in _ENGINE_CODES or seen.exit_code == attempt_files.TAKEN)
        and not seen.out_of_memory
        and task.intent not in STOPPING
        and _own_word(result, cut_off=True) is None
    )


def of_exit(
    task: Placed,
    seen: Observation,
    result: Result | None,
    *,
    looked: bool,
    now: float,
    boot: Boot | None = None,
    down: float = 0.0,
    around: Circumstances = Circumstances(),
    interpreter: str | None = None,
) -> Outcome:
    """
    The outcome of a run that ended. `result` is what its wrapper left, `looked` whether it was looked for (it need not
    be where the exit code is beyond doubt). `boot` is when its node last began anew, `down` the seconds before in which it
    may have been on its way down. `around` is what was seen of others' doing and of the image, `interpreter` what the first
    line of its script names.
    """
    result = _clamped(task, result, now)
    ended_at = min(now, seen.ended_at or (result.ended_at if result else None) or now)
    began = task.started_at or seen.started_at or (result.started_at if result else None)
    started_at = min(began, ended_at) if began is not None else ended_at
    code = _exit_code(seen, result)
    by_node = looked and _ended_by_node(seen, result, boot, down=down, now=now)
    stopped = (
        code in (EXIT_TERMINATED, EXIT_KILLED) and not seen.out_of_memory
    )  # whatever clocks that differ a little say
    if task.intent in STOPPING and (by_node or stopped or _is_after_wish(task, ended_at)):
        return _wanted(task, started_at, ended_at)
    if seen.lost:
        return Outcome(Ending.LOST, EXIT_KILLED, seen.reason, started_at, ended_at)
    if result is not None and Word.OUT_OF_MEMORY in result.words and code == EXIT_KILLED and not seen.out_of_memory:
        # Where a container ends just as memory runs out, its engine does not always tell.
        seen = replace(seen, out_of_memory=True)
    if looked and (reason := reasons.never_began(task, seen.exit_code, result, around, taken=attempt_files.TAKEN)):
        return Outcome(Ending.START_FAILED, seen.exit_code, reason, None, ended_at)
    if seen.out_of_memory and code != 0:
        reason = f"out of memory: it used more than the {_memory(task)} it asked for"
        return Outcome(Ending.OUT_OF_MEMORY, code, reason, started_at, ended_at)
    if by_node:
        reason = f"the Docker Engine of {task.node} was restarted while it ran"
        return Outcome(Ending.NODE_FAILED, EXIT_KILLED, reason, started_at, ended_at)
    if looked and seen.removed and is_doubtful(seen) and _own_word(result, cut_off=False) is None:
        return Outcome(Ending.LOST, EXIT_KILLED, _REMOVED, started_at, ended_at)
    reason = reasons.of_end(task, code, result, around, interpreter=interpreter)
    if seen.by_signal is not None:
        reason = seen.reason or reason  # an executor that waits for the command itself knows best
    elif seen.exit_code == attempt_files.TAKEN and result is not None and result.exit_code is None:
        reason = reasons.second_start()
    if seen.out_of_memory:
        reason = f"it ended well, but a process of it was killed at its memory limit of {_memory(task)}"
    return Outcome(Ending.EXITED, code, reason, started_at, ended_at)


def of_missing(task: Placed, result: Result | None, *, now: float, boot: Boot | None = None) -> Outcome:
    """The outcome of a run that is not there any more, on a node that last began anew at `boot`."""
    result = _clamped(task, result, now)
    began = task.started_at or (result.started_at if result else None)
    if task.intent in STOPPING:
        return _wanted(task, began, now)
    renewed = boot is not None and (began or task.status_at) < now - boot.ago
    if (left := _own_word(result, cut_off=renewed)) is not None:
        reason = "its container was removed by somebody else; the exit code is the one it left in its directory"
        return Outcome(Ending.EXITED, left.exit_code, reason, began, left.ended_at or now)
    if renewed:
        reason = f"the Docker Engine of {task.node} was restarted while it ran, and has nothing of it any more"
        return Outcome(Ending.NODE_FAILED, EXIT_KILLED, reason, began, now)
    return Outcome(Ending.LOST, EXIT_KILLED, _REMOVED, began, now)


def of_lost(task: Placed, result: Result | None, *, silent: float, now: float) -> Outcome:
    """The outcome of a run whose node has not answered for `silent` seconds, and is not waited for any longer."""
    result = _clamped(task, result, now)
    began = task.started_at or (result.started_at if result else None)
    if (left := _own_word(result, cut_off=True)) is not None and task.intent is not Intent.RESCHEDULE:
        if task.intent is Intent.KILL and _is_after_wish(task, left.ended_at or now):
            return _wanted(task, began, left.ended_at or now)
        reason = f"node {task.node} does not answer; the exit code is the one it left in its directory"
        return Outcome(Ending.EXITED, left.exit_code, reason, began, left.ended_at or now)
    if task.intent in STOPPING:
        return _wanted(task, began, now)
    reason = f"node {task.node} did not answer for {durations.shown(silent)}"
    return Outcome(Ending.NODE_FAILED, EXIT_KILLED, reason, began, now)


def _wanted(task: Placed, started_at: float | None, ended_at: float) -> Outcome:
    """It was to end: its owner or an admin wanted that, or the system itself did."""
    if task.intent is Intent.RESCHEDULE:
        return Outcome(Ending.KILLED, EXIT_KILLED, "rescheduled", started_at, ended_at, again=True)
    if task.cause is not None:
        return Outcome(task.cause.ending, EXIT_KILLED, task.cause.reason, started_at, ended_at)
    return Outcome(Ending.KILLED, EXIT_KILLED, kills.reason(task.intent_by), started_at, ended_at)


def _is_after_wish(task: Placed, ended_at: float) -> bool:
    return task.intent_at is None or ended_at >= task.intent_at - _TICK


def _exit_code(seen: Observation, result: Result | None) -> int | None:
    """The command's exit code: that of who waited for it. The word it left counts where the engine may not have been told."""
    if seen.by_signal is not None or seen.exit_code not in _ENGINE_CODES | {attempt_files.TAKEN}:
        return seen.exit_code
    if result is not None and result.exit_code is not None:
        return result.exit_code
    if seen.exit_code == attempt_files.TAKEN and result is not None:
        return EXIT_KILLED  # a second start found the attempt taken; of the first there is no end
    return seen.exit_code


def _ended_by_node(seen: Observation, result: Result | None, boot: Boot | None, *, down: float, now: float) -> bool:
    """
    Whether a run ended because its node did: it was begun before the node's last beginning, ended shortly before that or at
    it, and left no word of its own. A command that was told to end and said 0 or 1 has said what it has to say.
    """
    if boot is None or _own_word(result, cut_off=True) is not None:
        return False
    if seen.exit_code == attempt_files.TAKEN and result is not None:
        # The attempt was started again, after what it began before was gone. That time is not on the node's clock.
        return result.started_at < now - boot.ago
    if seen.exit_code not in _ENGINE_CODES or seen.started_at is None or seen.ended_at is None:
        return False
    return seen.started_at < boot.at and seen.ended_at >= boot.at - down


def _own_word(result: Result | None, *, cut_off: bool) -> Result | None:
    """
    What the wrapper left, if it says how the command ended. With `cut_off`, the end of one that was told to end, and did so by
    that signal, is the node's doing.
    """
    if result is None or result.exit_code is None:
        return None
    if cut_off and result.told_to_end and result.exit_code == EXIT_TERMINATED:
        return None
    return result


def _clamped(task: Placed, result: Result | None, now: float) -> Result | None:
    """
    What the wrapper left, its times within those that we know of. The files are the user's: usage is not counted by what
    anybody can write into them.
    """
    if result is None:
        return None
    since = min(now, task.started_at or task.status_at)
    started_at = min(now, max(since, result.started_at))
    ended_at = min(now, max(started_at, result.ended_at)) if result.ended_at is not None else None
    return replace(result, started_at=started_at, ended_at=ended_at)


def _memory(task: Placed) -> str:
    return f"{task.memory / GB:g} GB"
