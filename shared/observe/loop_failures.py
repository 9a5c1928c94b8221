"""Unexpected failures of a service's loops: logged once, counted, and shown by the health check."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

import structlog

from shared import clock, errors
from shared.observe import metrics

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.5  #: seconds before the first restart of a failed loop
LONGEST_PAUSE = 30.0
WELL_AFTER = 60.0  #: seconds without a failure after which a loop counts as healthy
_TOLD_AGAIN = 600.0  #: seconds until the same failure is logged with its traceback again


@dataclass(slots=True)
class _Failure:
    error: str
    last_at: float
    times: int = 1
    told_at: float = 0.0


class LoopFailures:
    """The failures of the loops of one service."""

    def __init__(self) -> None:
        self._by_loop: dict[str, _Failure] = {}

    def note(self, loop: str, error: Exception) -> float:
        """Record a failure of a loop and return the seconds before its restart."""
        metrics.LOOPS_BROKEN.labels(loop.partition("-")[0]).inc()
        now, text = clock.monotonic(), f"{type(error).__name__}: {error}"
        known = self._by_loop.get(loop)
        if known is None or now - known.last_at > WELL_AFTER or known.error != text:
            known = self._by_loop[loop] = _Failure(text, now)
        else:
            known.times += 1
        known.last_at = now
        if known.times == 1 or now - known.told_at > _TOLD_AGAIN:
            known.told_at = now
            log.error("service.loop_failed", loop=loop, exc_info=error)
        else:
            log.debug("service.loop_failed", loop=loop, error=text, times=known.times)
        return float(min(FIRST_PAUSE * 2 ** min(known.times - 1, 10), LONGEST_PAUSE))

    async def check(self) -> None:
        """Raise `errors.LoopBroken` while a loop keeps failing. For the health of the service."""
        since = clock.monotonic() - WELL_AFTER
        broken = {loop: known for loop, known in self._by_loop.items() if known.last_at > since}
        if broken:
            text = "; ".join(f"{loop}: {known.error[:200]}" for loop, known in broken.items())
            raise errors.LoopBroken(f"it failed and was restarted: {text}")


#: Failures of the service whose loops run here; nested loops share them.
current: ContextVar[LoopFailures | None] = ContextVar("breaks", default=None)
