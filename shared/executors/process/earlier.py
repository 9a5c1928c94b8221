"""
Runs that an earlier version started: a wrapper in a shell, which says how it ended in the task's own directory. They are followed
to their end; none is started any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog

from shared import clock, errors
from shared.executors import types
from shared.executors.process import proc
from shared.executors.process.record import Found, Record
from shared.models.attempt_files import Result
from shared.rules.exit_codes import EXIT_KILLED
from shared.storage import directories

log = structlog.get_logger(__name__)

_WRITE_TIME = 2.0  #: seconds within which a wrapper has surely written its pid into the file that it made


def look(record: Record) -> Found:
    """See what has become of such a run."""
    if process := proc.recorded(record.pid, record.start, record.boot):
        return _alive(record, process)
    # Read after the process was seen to be gone: all that it will ever write is there. The pid in it counts where
    # the starter died too early to record one, or lost against another that started the same attempt.
    result = _result(record)
    while True:
        if process := _claimed(record, result):
            return _alive(record, process)
        # It may have begun or ended between the two looks: what was written is final once it is the same before and after.
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
    The living processes of a run that has no shim: those of the wrapper's session, those whose environment names the run, and all
    descendants of either. Only ever ones of its user, and none that another run is named in. A run of that name with another
    directory is another system's on the same machine, in a container of its maybe. The wrapper is one of the run's also before it
    has given up our rights.

    `wrapper` is the wrapper's pid, whether it lives or not, `start` when it was started. `directory` and `uid` are None where
    they are not known.
    """

    def is_named(process: proc.Process) -> bool:
        return process.run == name and (directory is None or process.directory in (None, directory))

    by_pid = {process.pid: process for process in processes}
    # The kernel gives the pid of a session's leader to nobody else while the session has members. Where the pid has a
    # process that is not the wrapper, the session is gone, and the number means another one.
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
    """Whether the wrapper has taken the attempt, or has ended without."""
    return _result(record) is not None or proc.recorded(record.pid, record.start, record.boot) is None


def _alive(record: Record, process: proc.Process) -> Found:
    return Found(record, types.RunState.PAUSED if process.is_stopped else types.RunState.RUNNING, process)


def _dead(record: Record, result: Result | None) -> Found:
    # A file just made may lack its pid because the wrapper is between making and writing it.
    fresh = result is not None and result.pid is None and clock.now() - result.started_at < _WRITE_TIME
    if record.pid is None and (result is None or fresh):
        return Found(record, types.RunState.CREATED, None)
    code = result.exit_code if result and result.exit_code is not None else EXIT_KILLED
    # The time of its file is the task's to set: it is believed between what we recorded and now.
    ended_at = result.ended_at if result else None
    if ended_at is not None:
        ended_at = min(max(ended_at, record.started_at), clock.now())
    return Found(record, types.RunState.EXITED, None, code=code, ended_at=ended_at)


def _result(record: Record) -> Result | None:
    try:
        return directories.read_result(Path(record.directory), record.attempt)
    except (errors.StorageError, errors.StorageUnavailable) as error:
        # One directory that cannot be read must not hide all other runs.
        log.warning("process.result_unreadable", run=record.name, reason=str(error))
        return None


def _claimed(record: Record, result: Result | None) -> proc.Process | None:
    """
    The process that the wrapper's file names, if it is one of this run. The file belongs to the task, which may have
    written any pid into it: it must be the run's user's, lead a session as we make them, and be the wrapper of this very attempt.
    """
    if result is None or result.pid is None or record.boot != proc.boot_id():
        return None
    process = proc.read(result.pid)
    if process is None or not process.is_alive or process.uid != record.uid or process.session != process.pid:
        return None
    arguments = proc.arguments(result.pid)
    is_wrapper = arguments[:2] == ["/bin/sh", "-c"] and arguments[3:5] == [record.name, str(record.attempt)]
    return process if is_wrapper else None
