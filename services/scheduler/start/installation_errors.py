"""Errors of the installation that stop starts for a while, by node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from shared.executors.types import NodeReport

EVERYWHERE = "all"  #: stands for every node: something that each start needs is broken
FIRST, LONGEST = 2.0, 60.0  #: seconds until starts are tried again, doubled each time that one fails again
REMEMBERED = 120.0  #: seconds after which another error begins with `FIRST` again


@dataclass(frozen=True, slots=True)
class _Outage:
    """Times in seconds of the monotonic clock."""

    reason: str
    until: float
    pause: float


class InstallationErrors:
    """
    At most one error for each node, and one for all of them. A start that fails this way is undone. Without this record
    the scheduler would place and undo every task of the queue in turn, though no task is to blame.
    """

    def __init__(self) -> None:
        self._outages: dict[str, _Outage] = {}

    def note(self, where: str, reason: str, *, now: float) -> None:
        """Record that a start, or a check of what it needs, failed. Failures during a pause count as one."""
        before = self._outages.get(where)
        if before is None or now >= before.until + REMEMBERED:
            self._outages[where] = _Outage(reason, now + FIRST, FIRST)
        elif now >= before.until:
            pause = min(LONGEST, before.pause * 2)
            self._outages[where] = _Outage(reason, now + pause, pause)

    def keep(self, where: str, reason: str, *, now: float, seconds: float) -> None:
        """Record an error for `seconds`, within which the caller checks again."""
        before = self._outages.get(where)
        self._outages[where] = _Outage(reason, now + seconds, before.pause if before else FIRST)

    def clear(self, *where: str) -> None:
        """Forget errors: a start or a check succeeded."""
        for one in where:
            self._outages.pop(one, None)

    def reason(self, node: str, *, now: float) -> str | None:
        """Return why nothing is started on `node` now; None if starts may be tried."""
        for where in (EVERYWHERE, node):
            outage = self._outages.get(where)
            if outage is not None and now < outage.until:
                return outage.reason
        return None

    def current(self, *, now: float) -> set[str]:
        """Return the places where starts failed recently and none succeeded since."""
        return {where for where, outage in self._outages.items() if now < outage.until + REMEMBERED}

    def apply(self, reports: Iterable[NodeReport], *, now: float) -> list[NodeReport]:
        """Return the reports, with nodes that have an error as not ready."""
        applied = []
        for report in reports:
            reason = self.reason(report.name, now=now)
            applied.append(replace(report, ready=False, reason=reason) if reason and report.ready else report)
        return applied
