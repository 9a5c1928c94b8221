"""Errors of the installation that starts met: where nothing more is tried for a while, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from shared.executors.types import NodeReport

EVERYWHERE = "all"  #: instead of a node: what every start needs is broken
FIRST, LONGEST = 2.0, 60.0  #: seconds until a start is tried again, doubled each time that it fails again
REMEMBERED = 120.0  #: seconds after which an error begins a new row


@dataclass(frozen=True, slots=True)
class Ailment:
    """Times in seconds, of a clock that only goes forward."""

    reason: str
    until: float
    pause: float


class Ailments:
    """
    One for each node, and one for all of them. A start that failed so is undone; without this, every task of the queue would be
    placed and undone in its turn, and none of them can be to blame.
    """

    def __init__(self) -> None:
        self._found: dict[str, Ailment] = {}

    def note(self, where: str, reason: str, *, now: float) -> None:
        """A start, or a look at what it needs, failed. Those that fail together count as one."""
        before = self._found.get(where)
        if before is None or now >= before.until + REMEMBERED:
            self._found[where] = Ailment(reason, now + FIRST, FIRST)
        elif now >= before.until:
            pause = min(LONGEST, before.pause * 2)
            self._found[where] = Ailment(reason, now + pause, pause)

    def keep(self, where: str, reason: str, *, now: float, seconds: float) -> None:
        """It is so for `seconds`, in which it is looked at again."""
        before = self._found.get(where)
        self._found[where] = Ailment(reason, now + seconds, before.pause if before else FIRST)

    def heal(self, *where: str) -> None:
        """A start went well, or what was looked at is well again."""
        for one in where:
            self._found.pop(one, None)

    def reason(self, node: str, *, now: float) -> str | None:
        """Why nothing is started on `node` now; None where nothing is known to be wrong."""
        for where in (EVERYWHERE, node):
            found = self._found.get(where)
            if found is not None and now < found.until:
                return found.reason
        return None

    def current(self, *, now: float) -> set[str]:
        """Where starts failed a short while ago, and none went well since."""
        return {where for where, found in self._found.items() if now < found.until + REMEMBERED}

    def told(self, reports: Iterable[NodeReport], *, now: float) -> list[NodeReport]:
        """The reports, those of ailing nodes as not ready."""
        made = []
        for report in reports:
            reason = self.reason(report.name, now=now)
            made.append(replace(report, ready=False, reason=reason) if reason and report.ready else report)
        return made
