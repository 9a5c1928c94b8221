"""The offset of an engine's clock, by which its times are converted to our clock."""

from __future__ import annotations

import math

import structlog

from shared import clock

log = structlog.get_logger(__name__)

KEPT = 60.0  #: seconds until the engine's clock is read again
_DRIFT = 1e-4  #: seconds per second, the most that the clocks of two computers drift apart
NOTICED = 1.0  #: seconds of difference that are reported to the operator


class Skew:
    """
    The difference as last measured. A run's start and kill are on our clock, its end is on its engine's: unless all are on one
    clock, its usage is wrong, and so is the decision whether it ended before the kill.
    """

    def __init__(self, node: str) -> None:
        self.ahead = 0.0  #: seconds, theirs minus ours
        self._node = node
        self._unsure = math.inf  #: seconds, of `ahead`
        self._judged_at = clock.monotonic()
        self._due_at = 0.0
        self._is_noticed = False

    @property
    def is_due(self) -> bool:
        """Return whether the engine's clock has to be read again."""
        return clock.monotonic() >= self._due_at

    def put_off(self) -> None:
        """Note that the clock is being read now."""
        self._due_at = clock.monotonic() + KEPT

    def note(self, theirs: float, *, asked_at: float, answered_at: float) -> None:
        """
        Note a time that the engine reported at some moment between request and answer (Cristian, 1989). All are seconds since
        the epoch. Of answers that agree, the fastest counts.
        """
        self._grow_unsure()
        least, most = theirs - answered_at, theirs - asked_at
        if most - least < self._unsure or not least <= self.ahead <= most:
            # No difference is assumed where both clocks may be right.
            self.ahead = 0.0 if least <= 0.0 <= most else (least + most) / 2
            self._unsure = most - least
        self.put_off()
        if self._is_noticed != (abs(self.ahead) > NOTICED):
            self._is_noticed = not self._is_noticed
            event = "node.clock_differs" if self._is_noticed else "node.clock_agrees"
            log.warning(event, node=self._node, ahead=round(self.ahead, 3))

    def _grow_unsure(self) -> None:
        now = clock.monotonic()
        self._unsure += _DRIFT * (now - self._judged_at)
        self._judged_at = now
