"""Decide how an attempt ended, from its node's observation and its wrapper's files: pure."""

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

#: Lowest exit code that may not be the command's own: the wrapper's, the shell's, a signal's, or the engine's for "unknown".
DOUBTFUL_FROM = 125

#: Exit codes of runs whose engine ended: ended by its signals, or found dead when it started again.
_ENGINE_CODES = frozenset({EXIT_TERMINATED, EXIT_KILLED, 255, None})

_TICK = 0.01  #: seconds by which a file's time may precede its writing: the kernel takes the time of its last tick

_REMOVED = "its container was removed by somebody else while it ran"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an attempt. Times are seconds since the epoch; `started_at` None: the command never began."""

    ending: Ending
    exit_code: int | None
    reason: str | None
    started_at: float | None
    ended_at: float
    again: bool = False  #: the task is rescheduled: only the times and the usage of this attempt are kept


def is_doubtful(seen: Observation) -> bool:
    """Return whether the exit code has to be checked against the wrapper's files."""
    return seen.exit_code is None or seen.exit_code >= DOUBTFUL_FROM


def may_never_have_begun(seen: Observation) -> bool:
    """Return whether the image may be unable to run a shell: init ends with these codes then."""
    return seen.exit_code in (1, 126, 127)


def may_be_ended_by_others(task: Placed, seen: Observation) -> bool:
    """Return whether somebody on the node may have ended the run."""
    return is_doubtful(seen) and not seen.out_of_memory and not seen.removed and task.intent not in STOPPING


def may_be_node_failure(task: Placed, seen: Observation, result: Result | None) -> bool:
    """Return whether the node's last boot is needed to distinguish its failure from the command's."""
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
    script: str | None = None,
) -> Outcome:
    """
    Return the outcome of a run that ended. `result` is from the wrapper's files, `looked` whether they were read (not needed
    where the exit code is beyond doubt). `boot` is the node's last boot, `down` the seconds before it in which the node may
    have been shutting down. `around` holds others' commands and the image's fault, `script` what was
    run, if its code is one that a script that cannot be run leaves.
    """
    result = _clamped(task, result, now)
    ended_at = min(now, seen.ended_at or (result.ended_at if result else None) or now)
    began = task.started_at or seen.started_at or (result.started_at if result else None)
    started_at = min(began, ended_at) if began is not None else ended_at
    code = _exit_code(seen, result)
    by_node = looked and _ended_by_node(seen, result, boot, down=down, now=now)
    # By the code, not only by the times: clocks may differ a little.
    stopped = code in (EXIT_TERMINATED, EXIT_KILLED) and not seen.out_of_memory
    if task.intent in STOPPING and (by_node or stopped or _is_after_intent(task, ended_at)):
        return _requested(task, started_at, ended_at)
    if seen.lost:
        return Outcome(Ending.LOST, EXIT_KILLED, seen.reason, started_at, ended_at)
    if result is not None and Word.OUT_OF_MEMORY in result.words and code == EXIT_KILLED and not seen.out_of_memory:
        # Where a container ends just as memory runs out, its engine does not always report it.
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
    reason = reasons.of_end(task, code, result, around, script=script)
    if seen.by_signal is not None:
        reason = seen.reason or reason  # an executor that waits for the command itself is authoritative
    elif seen.exit_code == attempt_files.TAKEN and result is not None and result.exit_code is None:
        reason = reasons.second_start()
    if seen.out_of_memory:
        reason = f"it ended well, but a process of it was killed at its memory limit of {_memory(task)}"
    return Outcome(Ending.EXITED, code, reason, started_at, ended_at)


def of_missing(task: Placed, result: Result | None, *, now: float, boot: Boot | None = None) -> Outcome:
    """Return the outcome of a run that no longer exists, on a node with this last `boot`."""
    result = _clamped(task, result, now)
    began = task.started_at or (result.started_at if result else None)
    if task.intent in STOPPING:
        return _requested(task, began, now)
    renewed = boot is not None and (began or task.status_at) < now - boot.ago
    if (left := _own_word(result, cut_off=renewed)) is not None:
        reason = "its container was removed by somebody else; the exit code is the one it left in its directory"
        return Outcome(Ending.EXITED, left.exit_code, reason, began, left.ended_at or now)
    if renewed:
        reason = f"the Docker Engine of {task.node} was restarted while it ran, and no longer has the container"
        return Outcome(Ending.NODE_FAILED, EXIT_KILLED, reason, began, now)
    return Outcome(Ending.LOST, EXIT_KILLED, _REMOVED, began, now)


def of_lost(task: Placed, result: Result | None, *, silent: float, now: float) -> Outcome:
    """Return the outcome of a run whose node is given up after not answering for `silent` seconds."""
    result = _clamped(task, result, now)
    began = task.started_at or (result.started_at if result else None)
    if (left := _own_word(result, cut_off=True)) is not None and task.intent is not Intent.RESCHEDULE:
        if task.intent is Intent.KILL and _is_after_intent(task, left.ended_at or now):
            return _requested(task, began, left.ended_at or now)
        reason = f"node {task.node} does not answer; the exit code is the one it left in its directory"
        return Outcome(Ending.EXITED, left.exit_code, reason, began, left.ended_at or now)
    if task.intent in STOPPING:
        return _requested(task, began, now)
    reason = f"node {task.node} did not answer for {durations.shown(silent)}"
    return Outcome(Ending.NODE_FAILED, EXIT_KILLED, reason, began, now)


def _requested(task: Placed, started_at: float | None, ended_at: float) -> Outcome:
    """Return the outcome of a stop that a user, an admin or the system requested."""
    if task.intent is Intent.RESCHEDULE:
        return Outcome(Ending.KILLED, EXIT_KILLED, "rescheduled", started_at, ended_at, again=True)
    if task.cause is not None:
        return Outcome(task.cause.ending, EXIT_KILLED, task.cause.reason, started_at, ended_at)
    return Outcome(Ending.KILLED, EXIT_KILLED, kills.reason(task.intent_by), started_at, ended_at)


def _is_after_intent(task: Placed, ended_at: float) -> bool:
    return task.intent_at is None or ended_at >= task.intent_at - _TICK


def _exit_code(seen: Observation, result: Result | None) -> int | None:
    """Return the command's exit code: the observed one, or the wrapper's where the engine may not know it."""
    if seen.by_signal is not None or seen.exit_code not in _ENGINE_CODES | {attempt_files.TAKEN}:
        return seen.exit_code
    if result is not None and result.exit_code is not None:
        return result.exit_code
    if seen.exit_code == attempt_files.TAKEN and result is not None:
        return EXIT_KILLED  # a second start found the attempt taken, and the first left no end
    return seen.exit_code


def _ended_by_node(seen: Observation, result: Result | None, boot: Boot | None, *, down: float, now: float) -> bool:
    """
    Return whether a run ended because its node did: it started before the node's last boot, ended shortly before or at it,
    and its wrapper recorded no exit code. A command that was sent SIGTERM and exited with 0 or 1 ended by itself.
    """
    if boot is None or _own_word(result, cut_off=True) is not None:
        return False
    if seen.exit_code == attempt_files.TAKEN and result is not None:
        # The attempt was started a second time, after its first run was gone. That time is not on the node's clock.
        return result.started_at < now - boot.ago
    if seen.exit_code not in _ENGINE_CODES or seen.started_at is None or seen.ended_at is None:
        return False
    return seen.started_at < boot.at and seen.ended_at >= boot.at - down


def _own_word(result: Result | None, *, cut_off: bool) -> Result | None:
    """
    Return the wrapper's result if it has an exit code. With `cut_off`, an end by SIGTERM after being sent SIGTERM does not count:
    the node sent it when it shut down.
    """
    if result is None or result.exit_code is None:
        return None
    if cut_off and result.told_to_end and result.exit_code == EXIT_TERMINATED:
        return None
    return result


def _clamped(task: Placed, result: Result | None, now: float) -> Result | None:
    """
    Return the wrapper's result with its times limited to what we know. The files belong to the user, who must not be able to
    change the usage by writing into them.
    """
    if result is None:
        return None
    since = min(now, task.started_at or task.status_at)
    started_at = min(now, max(since, result.started_at))
    ended_at = min(now, max(started_at, result.ended_at)) if result.ended_at is not None else None
    return replace(result, started_at=started_at, ended_at=ended_at)


def _memory(task: Placed) -> str:
    return f"{task.memory / GB:g} GB"
