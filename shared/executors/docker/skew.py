"""How far an engine's clock is from ours: what it says of times is told in ours."""

from __future__ import annotations

import math

import structlog

from shared import clock

log = structlog.get_logger(__name__)

KEPT = 60.0  #: seconds until it is asked for the time again
_DRIFT = 1e-4  #: seconds a second: what two clocks of computers differ more and more by, at most
NOTICED = 1.0  #: seconds of difference that an operator is told of


class Skew:
    """
    The difference as it was last heard. A run is started at a time on our clock, killed at one, and ended at one on its
    engine's: unless all are on one clock, its usage is wrong, and so is whether it ended before it was killed.
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
        """Whether the engine is to be asked for the time."""
        return clock.monotonic() >= self._due_at

    def put_off(self) -> None:
        """It is asked now."""
        self._due_at = clock.monotonic() + KEPT

    def hear(self, theirs: float, *, asked_at: float, answered_at: float) -> None:
        """
        Take note of a time that the engine told at some moment between the question and the answer (Cristian, 1989). All are
        seconds since the epoch. Of answers that agree, the one that came fastest counts.
        """
        self._grow_unsure()
        least, most = theirs - answered_at, theirs - asked_at
        if most - least < self._unsure or not least <= self.ahead <= most:
            # Where both clocks may be right, they are.
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
