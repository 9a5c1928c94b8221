"""The record of a run, and the run's state derived from it: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.executors import types
from shared.executors.process import proc

NODE = "localhost"  #: the only node of this executor

#: Values of `Record.form`: a wrapper in a shell, recorded by starters of earlier versions; a shim, which records itself.
WRAPPER, SHIM = 1, 2


@dataclass(frozen=True, slots=True)
class Record:
    """
    One run. An earlier version's record without a `pid` is an intent to start: the starter died before it could record whether
    the process was created.
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
    ports: Sequence[Sequence[int]] = ()  #: pairs: port of the run, port of the node
    system: str | None = None  #: see `types.Handle`
    form: int = WRAPPER
    # Added by the shim.
    command: int | None = None  #: pid of the command, which leads a session
    command_start: int | None = None  #: ticks after the boot
    # Added by the shim at the end, see `ending.Ending`.
    ended_at: float | None = None  #: seconds since the epoch
    code: int | None = None
    by_signal: bool = False
    told: bool = False
    killed: bool = False
    step: str = ""
    error: int = 0
    full: bool = False  #: the disk of the task's directory was full
    cpu: float = 0.0
    readable: bool = True  #: False: the record exists and cannot be read

    @property
    def handle(self) -> types.Handle:
        return types.Handle(NODE, self.task_id, self.attempt, self.system)

    @property
    def name(self) -> str:
        return types.run_name(self.task_id, self.attempt, self.system)


@dataclass(frozen=True, slots=True)
class Observed:
    """The present state of a run. `process` is its living shim, or the wrapper of an earlier version."""

    record: Record
    state: types.RunState
    process: proc.Process | None
    code: int | None = None
    ended_at: float | None = None  #: seconds since the epoch
    reason: str | None = None  #: reason of its end
    by_signal: bool | None = None
    lost: bool = False  #: how the command ended is not known

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
