"""How far an engine's clock is from ours: what it says of times is told in ours."""

from __future__ import annotations

import structlog

from shared import clock

log = structlog.get_logger(__name__)

KEPT = 60.0  #: seconds until it is asked for the time again
NOTICED = 1.0  #: seconds of difference that an operator is told of


class Skew:
    """
    The difference as it was last heard. A run is started at a time on our clock, killed at one, and ended at one on its
    engine's: unless all are on one clock, its usage is wrong, and so is whether it ended before it was killed.
    """

    def __init__(self, node: str) -> None:
        self.ahead = 0.0  #: seconds, theirs minus ours
        self._node = node
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
        """Take note of a time that the engine told. All are seconds since the epoch."""
        self.ahead = clock.ahead(theirs, asked_at=asked_at, answered_at=answered_at)
        self.put_off()
        if self._is_noticed != (abs(self.ahead) > NOTICED):
            self._is_noticed = not self._is_noticed
            log.warning(
                "node.clock_differs" if self._is_noticed else "node.clock_agrees", node=self._node, ahead=self.ahead
            )
