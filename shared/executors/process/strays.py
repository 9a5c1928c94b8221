"""Count and log processes of task users that belong to no run. They are left alone: nothing proves them ours."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import structlog

from shared.executors.process import earlier, proc, tree
from shared.executors.process.record import SHIM, WRAPPER, Observed
from shared.observe import metrics

log = structlog.get_logger(__name__)

_NOBODY = 65534  #: from here on, uids belong to the system
_SHOWN = 10


class Audit:
    """Compares the processes of this machine with its runs."""

    def __init__(self, first_uid: int) -> None:
        self._first = first_uid
        self._before: frozenset[tuple[int, int]] = frozenset()
        self._logged: frozenset[tuple[int, int]] = frozenset()

    def look(self, processes: Sequence[proc.Process], runs: Collection[Observed]) -> None:
        """Report strays. `processes` must be read before `runs`."""
        seen = frozenset((process.pid, process.start) for process in of_no_run(processes, runs, first_uid=self._first))
        # A process found twice does not belong to a run that ended in between.
        strays, self._before = seen & self._before, seen
        metrics.STRAYS.set(len(strays))
        if strays - self._logged:
            pids = sorted(pid for pid, _ in strays)
            log.warning("process.strays", count=len(pids), pids=pids[:_SHOWN])
        self._logged = strays


def of_no_run(processes: Sequence[proc.Process], runs: Collection[Observed], *, first_uid: int) -> list[proc.Process]:
    """Return the processes of users from `first_uid` on that belong to no run."""
    ours: set[int] = set()
    for run in runs:
        record = run.record
        if record.form == SHIM and run.process is not None:
            ours |= {process.pid for process in tree.below(processes, run.process.pid)}
        elif record.form == WRAPPER and record.readable:
            found = earlier.members(
                processes,
                name=record.name,
                directory=record.directory,
                uid=record.uid,
                wrapper=record.pid,
                start=record.start,
            )
            ours |= {process.pid for process in found}
    return [
        process
        for process in processes
        if process.is_alive and first_uid <= process.uid < _NOBODY and process.pid not in ours
    ]
