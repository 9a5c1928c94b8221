"""A run as it is now."""

from __future__ import annotations

from dataclasses import dataclass

from shared.executors import base
from shared.executors.process import proc, records

#: Exit code of a run of whose command nobody knows how it ended, as SIGKILL would give it.


@dataclass(frozen=True, slots=True)
class Found:
    """`process` is its shim, or an earlier version's wrapper, where that lives."""

    record: records.Record
    state: base.RunState
    process: proc.Process | None
    code: int | None = None
    ended_at: float | None = None  #: seconds since the epoch
    reason: str | None = None  #: what is to be said of its end
    by_signal: bool | None = None
    lost: bool = False  #: nobody saw the command's end
    wrapper_ran: bool = True

    def observation(self) -> base.Observation:
        record = self.record
        return base.Observation(
            handle=record.handle,
            state=self.state,
            exit_code=self.code,
            started_at=None if self.state is base.RunState.CREATED or not record.readable else record.started_at,
            ended_at=self.ended_at,
            wrapper_ran=self.wrapper_ran,
            given=base.Given(
                tuple(record.gpus), tuple(base.PortMapping(inner, outer) for inner, outer in record.ports)
            ),
            reason=self.reason,
            by_signal=self.by_signal,
            lost=self.lost,
        )
