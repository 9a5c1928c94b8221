"""Find the state of a run by its record, its shim and its command."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from shared import clock
from shared.executors import types
from shared.executors.process import earlier, ends, proc, records
from shared.executors.process.record import NODE, WRAPPER, Observed, Record
from shared.rules import scripts
from shared.rules.exit_codes import EXIT_KILLED

_SCRIPT = "cmd.sh"
_MOST = 4096  #: bytes of the script that are read


def find(store: records.Records, name: str) -> Observed | None:
    """Return the run's present state; None where it does not exist. Raises `errors.NodeUnavailable`."""
    record = store.read(name)
    if record is None:
        return None
    if not record.readable:
        return Observed(record, types.RunState.EXITED, None, code=EXIT_KILLED, reason=ends.UNREADABLE, lost=True)
    if record.form == WRAPPER:
        return earlier.look(record)
    if record.ended_at is not None:
        return _ended(record)
    if process := proc.recorded(record.pid, record.start, record.boot):
        return Observed(record, _state(record), process)
    # The shim may have written the end between the two reads: it does so before it exits.
    record = store.read(name)
    if record is None:
        return None
    return _ended(record) if record.ended_at is not None else _lost(record)


def _state(record: Record) -> types.RunState:
    command = proc.read(record.command) if record.command is not None else None
    stopped = command is not None and command.is_stopped and command.ppid == record.pid
    return types.RunState.PAUSED if stopped else types.RunState.RUNNING


def _ended(record: Record) -> Observed:
    assert record.ended_at is not None
    return Observed(
        record,
        types.RunState.EXITED,
        None,
        code=ends.code(record),
        ended_at=min(max(record.ended_at, record.started_at), max(record.started_at, clock.now())),
        reason=(_not_executed(record) if record.step == "exec" else None) or ends.reason(record),
        by_signal=record.by_signal,
        lost=ends.is_lost(record),
    )


def _lost(record: Record) -> Observed:
    restarted = record.boot != proc.boot_id()
    reason = ends.RESTARTED if restarted else ends.SHIM_GONE
    return Observed(record, types.RunState.EXITED, None, code=EXIT_KILLED, reason=reason, lost=True)


def _not_executed(record: Record) -> str | None:
    """Return the sentence for a run whose script the kernel refused; None where nothing more is known than the kernel's error."""
    script = _beginning(Path(record.directory) / _SCRIPT)
    interpreter = scripts.interpreter(script)
    if interpreter is None:
        return None
    if record.error == errno.EACCES and _is_noexec(record.directory):
        return scripts.mounted_noexec(NODE)
    if problems := scripts.problems_of(script):
        return problems[0]
    if record.error == errno.ENOENT:
        return scripts.has_no_interpreter(f"node {NODE}", interpreter)
    return None


def _beginning(file: Path) -> str:
    # The directory is the user's: a link or a pipe in place of the script is not followed, nor waited for.
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _MOST).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _is_noexec(directory: str) -> bool:
    try:
        return bool(os.statvfs(directory).f_flag & os.ST_NOEXEC)
    except OSError:
        return False
