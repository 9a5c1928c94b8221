"""
Runs of an earlier version: a wrapper in a shell, which records its end in the task's own directory. They are followed to their
end; no new ones are started.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog

from shared import clock, errors
from shared.executors import types
from shared.executors.process import proc
from shared.executors.process.record import Observed, Record
from shared.models.attempt_files import Result
from shared.rules.exit_codes import EXIT_KILLED
from shared.storage import directories

log = structlog.get_logger(__name__)

_WRITE_TIME = 2.0  #: seconds after which a wrapper has certainly written its pid into its new file


def look(record: Record) -> Observed:
    """Return the present state of such a run."""
    if process := proc.recorded(record.pid, record.start, record.boot):
        return _alive(record, process)
    # Read after the process was gone: the files are final. The pid in them counts where
    # the starter died too early to record one, or lost the race for the same attempt.
    result = _result(record)
    while True:
        if process := _claimed(record, result):
            return _alive(record, process)
        # It may have begun or ended between the two reads: the files are final once they are the same before and after.
        again = _result(record)
        if again == result:
            return _dead(record, result)
        result = again


def members(
    processes: Sequence[proc.Process],
    *,
    name: str,
    directory: str | None,
    uid: int | None,
    wrapper: int | None,
    start: int | None,
) -> list[proc.Process]:
    """
    Return the living processes of a run without a shim: those of the wrapper's session, those whose environment names the run,
    and all descendants of either; only ones of its user, and none whose environment names another run. A run with the same
    name and another directory is another system's on the same machine, perhaps in a container. The wrapper counts even before
    it has dropped our rights.

    `wrapper` is the wrapper's pid, dead or alive, `start` its start time. `directory` and `uid` are None where unknown.
    """

    def is_named(process: proc.Process) -> bool:
        return process.run == name and (directory is None or process.directory in (None, directory))

    by_pid = {process.pid: process for process in processes}
    # The kernel does not reuse the pid of a session's leader while the session has members. Where the pid belongs to a
    # process that is not the wrapper, the session is gone and the number means another one.
    leader = by_pid.get(wrapper) if wrapper is not None else None
    is_wrapper = leader is not None and leader.start == start
    session = wrapper if leader is None or is_wrapper else None
    mine = {
        process.pid
        for process in processes
        if is_named(process) or (session is not None and process.session == session and process.run is None)
    }
    grown = True
    while grown:
        more = {process.pid for process in processes if process.ppid in mine} - mine
        mine |= more
        grown = bool(more)
    found = (by_pid[pid] for pid in mine)
    return [
        process
        for process in found
        if process.is_alive
        and (uid is None or process.uid == uid or (is_wrapper and process.pid == wrapper))
        and (process.run is None or is_named(process))
    ]


def has_begun(record: Record) -> bool:
    """Return whether the wrapper has taken the attempt or ended without it."""
    return _result(record) is not None or proc.recorded(record.pid, record.start, record.boot) is None


def _alive(record: Record, process: proc.Process) -> Observed:
    return Observed(record, types.RunState.PAUSED if process.is_stopped else types.RunState.RUNNING, process)


def _dead(record: Record, result: Result | None) -> Observed:
    # A new file may lack the pid because the wrapper has not written it yet.
    fresh = result is not None and result.pid is None and clock.now() - result.started_at < _WRITE_TIME
    if record.pid is None and (result is None or fresh):
        return Observed(record, types.RunState.CREATED, None)
    code = result.exit_code if result and result.exit_code is not None else EXIT_KILLED
    # The task can set the file's time: it counts only between our recorded start and now.
    ended_at = result.ended_at if result else None
    if ended_at is not None:
        ended_at = min(max(ended_at, record.started_at), clock.now())
    return Observed(record, types.RunState.EXITED, None, code=code, ended_at=ended_at)


def _result(record: Record) -> Result | None:
    try:
        return directories.read_result(Path(record.directory), record.attempt)
    except (errors.StorageError, errors.StorageUnavailable) as error:
        # One unreadable directory must not hide all other runs.
        log.warning("process.result_unreadable", run=record.name, reason=str(error))
        return None


def _claimed(record: Record, result: Result | None) -> proc.Process | None:
    """
    Return the process that the wrapper's file names, if it belongs to this run. The task may have written any pid into the
    file: the process must be the run's user's, lead a session, and be the wrapper of this attempt.
    """
    if result is None or result.pid is None or record.boot != proc.boot_id():
        return None
    process = proc.read(result.pid)
    if process is None or not process.is_alive or process.uid != record.uid or process.session != process.pid:
        return None
    arguments = proc.arguments(result.pid)
    is_wrapper = arguments[:2] == ["/bin/sh", "-c"] and arguments[3:5] == [record.name, str(record.attempt)]
    return process if is_wrapper else None
