"""What has become of a run: its record, what its wrapper wrote, and whether its process is still that one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import structlog

from shared import clock, errors
from shared.executors import base, wrapper
from shared.executors.process import proc, records
from shared.storage import directories

log = structlog.get_logger(__name__)

#: Exit code of a run whose wrapper did not come to its end: somebody from outside killed it, as SIGKILL would.
KILLED_FROM_OUTSIDE = 137

_WRITE_TIME = 2.0  #: seconds within which a wrapper has surely written its pid into the file that it made


@dataclass(frozen=True, slots=True)
class Found:
    """A run as it is now. `process` is its wrapper, where that lives."""

    record: records.Record
    state: base.RunState
    process: proc.Process | None
    result: directories.Result | None

    @property
    def exit_code(self) -> int | None:
        if self.state is not base.RunState.EXITED:
            return None
        if self.result is None or self.result.exit_code is None:
            return KILLED_FROM_OUTSIDE
        return self.result.exit_code

    def observation(self, node: str) -> base.Observation:
        ended = self.state is base.RunState.EXITED
        return base.Observation(
            handle=self.record.handle,
            state=self.state,
            exit_code=self.exit_code,
            started_at=None if self.state is base.RunState.CREATED else self.record.started_at,
            ended_at=self.result.ended_at if ended and self.result else None,
            wrapper_ran=self.result is not None or not ended,
            given=base.Given(
                tuple(self.record.gpus), tuple(base.PortMapping(inner, outer) for inner, outer in self.record.ports)
            ),
        )


def look(record: records.Record) -> Found:
    """See what has become of a run."""
    if process := _recorded(record):
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
            return Found(record, _dead_state(record, result), None, result)
        result = again


def _alive(record: records.Record, process: proc.Process) -> Found:
    return Found(record, base.RunState.PAUSED if process.is_stopped else base.RunState.RUNNING, process, None)


def _dead_state(record: records.Record, result: directories.Result | None) -> base.RunState:
    if record.pid is not None:
        return base.RunState.EXITED
    # A file just made may lack its pid because the wrapper is between making and writing it.
    fresh = result is not None and result.pid is None and clock.now() - result.started_at < _WRITE_TIME
    return base.RunState.CREATED if result is None or fresh else base.RunState.EXITED


def has_begun(record: records.Record) -> bool:
    """Whether the wrapper has taken the attempt, or has ended without."""
    return _result(record) is not None or _recorded(record) is None


def _result(record: records.Record) -> directories.Result | None:
    try:
        return directories.read_result(Path(record.directory), record.attempt)
    except (errors.StorageError, errors.StorageUnavailable) as error:
        # One directory that cannot be read must not hide all other runs.
        log.warning("process.result_unreadable", run=record.name, reason=str(error))
        return None


def _recorded(record: records.Record) -> proc.Process | None:
    """The process that the record names, if it lives."""
    if record.pid is None or record.boot != proc.boot_id():
        return None
    process = proc.read(record.pid)
    return process if process and process.is_alive and process.start == record.start else None


def _claimed(record: records.Record, result: directories.Result | None) -> proc.Process | None:
    """
    The process that the wrapper's file names, if it is one of this run. The file belongs to the task, which may have
    written any pid into it: it must be the run's user's, lead a session as we make them, and be the wrapper of this very attempt.
    """
    if result is None or result.pid is None or record.boot != proc.boot_id():
        return None
    process = proc.read(result.pid)
    if process is None or not process.is_alive or process.uid != record.uid or process.session != process.pid:
        return None
    return process if wrapper.is_of(proc.arguments(result.pid), record.name, record.attempt) else None
