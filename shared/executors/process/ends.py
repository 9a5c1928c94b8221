"""Exit code and reason of a run, from its shim's record: pure."""

from __future__ import annotations

import errno
import os
import signal

from shared.executors.process.record import Record

UNREADABLE = "the record of this run cannot be read: how its command ended is not known"
RESTARTED = "the machine was restarted while it ran"
SHIM_GONE = "its shim was ended from outside: how its command ended is not known"

_SECOND = "its attempt began earlier and its record is gone: it is not run twice"
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  #: exit codes of shells (POSIX XCU 2.8.2)
#: Signals that somebody sends; a command causes the others itself.
_SENT = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM})


def is_lost(record: Record) -> bool:
    """Return whether the command's end is unknown."""
    return record.step == "second"


def code(record: Record) -> int | None:
    """Return the command's exit code, 128 and more for a signal; a shell's code where it could not be executed."""
    if record.step == "exec":
        return _NOT_FOUND if record.error == errno.ENOENT else _NOT_EXECUTABLE
    if is_lost(record):
        return 128 + signal.SIGKILL
    return _NOT_EXECUTABLE if record.step else record.code


def reason(record: Record) -> str | None:
    """Return the reason of the end; None where the exit code says it all."""
    if record.step:
        return _not_executed(record)
    if record.full and record.code != 0:
        return f"it ended with {record.code}, and the disk of its directory was full"
    if record.by_signal and not record.told and not record.killed and record.code is not None:
        number = record.code - 128
        if number in _SENT:
            name = signal.Signals(number).name
            return f"ended by {name} from outside: by somebody on its host, or because memory ran out"
    return None


def _not_executed(record: Record) -> str:
    why = os.strerror(record.error)
    match record.step:
        case "second":
            return _SECOND
        case "exec":
            return f"cmd.sh could not be executed: {why}"
        case "output":
            return f"god.log and god.err could not be written: {why}"
        case "limits":
            return f"the limits of the process could not be set: {why}"
        case "directory":
            return f"the task's directory could not be entered: {why}"
    return f"the process could not be made: {why}"
