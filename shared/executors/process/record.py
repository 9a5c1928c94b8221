"""The record of a run, and the state of the run that was derived from it: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.executors import types
from shared.executors.process import proc

NODE = "localhost"  #: the only node of this executor

#: Of `Record.form`: a wrapper in a shell, which starters of earlier versions recorded; a shim, which records itself.
WRAPPER, SHIM = 1, 2


@dataclass(frozen=True, slots=True)
class Record:
    """
    One run. One of an earlier version without a `pid` is an intent: its process may have been made or not, and the starter
    died before it could say which.
    """

    task_id: int
    attempt: int
    uid: int
    directory: str
    boot: str  #: `proc.boot_id` at the start
    started_at: float  #: seconds since the epoch
    pid: int | None = None  #: of the shim, or of an earlier version's wrapper
    start: int | None = None  #: ticks after the boot
    gpus: Sequence[str] = ()
    ports: Sequence[Sequence[int]] = ()  #: of the run, and that of the node which is meant by it
    system: str | None = None  #: see `types.Handle`
    form: int = WRAPPER
    # What the shim adds.
    command: int | None = None  #: pid of the command, which leads a session
    command_start: int | None = None  #: ticks after the boot
    # And what it adds at the end: see `ending.Ending`.
    ended_at: float | None = None  #: seconds since the epoch
    code: int | None = None
    by_signal: bool = False
    told: bool = False
    killed: bool = False
    step: str = ""
    error: int = 0
    full: bool = False  #: the disk of the task's directory had no room left
    cpu: float = 0.0
    readable: bool = True  #: false: there is a record, and nothing more can be said

    @property
    def handle(self) -> types.Handle:
        return types.Handle(NODE, self.task_id, self.attempt, self.system)

    @property
    def name(self) -> str:
        return types.run_name(self.task_id, self.attempt, self.system)


@dataclass(frozen=True, slots=True)
class Found:
    """`process` is its shim, or an earlier version's wrapper, where that lives."""

    record: Record
    state: types.RunState
    process: proc.Process | None
    code: int | None = None
    ended_at: float | None = None  #: seconds since the epoch
    reason: str | None = None  #: what is to be said of its end
    by_signal: bool | None = None
    lost: bool = False  #: nobody saw the command's end

    def observation(self) -> types.Observation:
        record = self.record
        return types.Observation(
            handle=record.handle,
            state=self.state,
            exit_code=self.code,
            started_at=None if self.state is types.RunState.CREATED or not record.readable else record.started_at,
            ended_at=self.ended_at,
            given=types.Given(
                tuple(record.gpus), tuple(types.PortMapping(inner, outer) for inner, outer in record.ports)
            ),
            reason=self.reason,
            by_signal=self.by_signal,
            lost=self.lost,
        )
