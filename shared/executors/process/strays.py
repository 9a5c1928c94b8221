"""Processes of users of tasks that belong to no run: counted and told of, and left alone, since nothing proves them ours."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import structlog

from shared.executors.process import earlier, proc, tree
from shared.executors.process.record import SHIM, WRAPPER, Found
from shared.observe import metrics

log = structlog.get_logger(__name__)

_NOBODY = 65534  #: from here on, numbers are the system's
_SHOWN = 10


class Audit:
    """Holds the processes of this machine against its runs, now and then."""

    def __init__(self, first_uid: int) -> None:
        self._first = first_uid
        self._before: frozenset[tuple[int, int]] = frozenset()
        self._told: frozenset[tuple[int, int]] = frozenset()

    def look(self, processes: Sequence[proc.Process], runs: Collection[Found]) -> None:
        """`processes` were looked at before `runs` were."""
        seen = frozenset((process.pid, process.start) for process in of_no_run(processes, runs, first_uid=self._first))
        # One that is there at two looks is none of a run that ended in between.
        strays, self._before = seen & self._before, seen
        metrics.STRAYS.set(len(strays))
        if strays - self._told:
            pids = sorted(pid for pid, _ in strays)
            log.warning("process.strays", count=len(pids), pids=pids[:_SHOWN])
        self._told = strays


def of_no_run(processes: Sequence[proc.Process], runs: Collection[Found], *, first_uid: int) -> list[proc.Process]:
    """Those of users from `first_uid` on that are in no run."""
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
