"""Reasons of ends, for a task's owner: pure. None of them claims more than was observed."""

from __future__ import annotations

import signal

from shared.executors.types import Circumstances
from shared.models.attempt_files import Result, Word
from shared.models.work import Placed
from shared.rules import scripts

#: Signals that a process usually causes itself, and by what.
_OWN_FAULTS = {
    signal.SIGILL: "an instruction that the processor does not have",
    signal.SIGTRAP: "a breakpoint without a debugger",
    signal.SIGABRT: "the program aborted itself",
    signal.SIGBUS: "an access to memory that is not there, as when a file that it has mapped was cut short",
    signal.SIGFPE: "an arithmetic operation without a result",
    signal.SIGSEGV: "an access to memory that is not its own",
    signal.SIGSYS: "a system call that is not allowed",
}
#: Signals that are sent by somebody. Unless a sender was observed, their codes count as the command's own.
_SENT = (signal.SIGKILL, signal.SIGTERM)


def never_began(
    task: Placed, code: int | None, result: Result | None, around: Circumstances, *, taken: int
) -> str | None:
    """Return why a run ended before its command began; None where it began. `taken`: the wrapper's own exit code."""
    if result is None and around.shell is not None:
        return f"the image {task.image} {around.shell}"
    if code != taken:
        return None
    if result is None:
        return "the task's directory could not be written to from the container"
    if not result.began:
        return "the disk of shared_dir is full (or has no inodes left): there was no room for the end of the command"
    if Word.NO_OUTPUT in result.words:
        return "god.log and god.err could not be opened in the task's directory"
    return None


def of_end(
    task: Placed, code: int | None, result: Result | None, around: Circumstances, *, script: str | None
) -> str | None:
    """Return the reason for a command's end, if there is one. `script`: what was run, where that may be why it ended."""
    if around.commands:
        return f"somebody on {task.node} gave it: {', '.join(around.commands)}"
    words = result.words if result else frozenset()
    interpreter = scripts.interpreter(script) if script else None
    if Word.NO_INTERPRETER in words and interpreter:
        return scripts.has_no_interpreter(f"the image {task.image}", interpreter)
    if Word.NO_EXEC in words and interpreter:
        return scripts.mounted_noexec(task.node)
    # Of a script that names an interpreter, these would be guesses: it was found and ran.
    if script and interpreter is None and (problems := scripts.problems_of(script)):
        return problems[0]
    return of_code(code)


def of_code(code: int | None) -> str | None:
    """Return the meaning of an exit code by the convention of shells (POSIX XCU 2.8.2); None for a command's own code."""
    match code:
        case 126:
            return "exit code 126, which shells give for a program that cannot be executed; god.err may name it"
        case 127:
            return "exit code 127, which shells give for a program that was not found; god.err may name it"
    try:
        number = signal.Signals(code - 128) if code is not None and 128 < code < 128 + signal.SIGRTMIN else None
    except ValueError:
        number = None
    if number is None or number in _SENT:
        return None
    if fault := _OWN_FAULTS.get(number):
        return f"exit code {code}, which shells give for an end by {number.name}: {fault}"
    return f"exit code {code}, which shells give for an end by {number.name}"


def second_start() -> str:
    """Return the reason for a run whose wrapper found its attempt taken, and whose first run left no end."""
    return "its container was started a second time; how its first run ended is not known"
