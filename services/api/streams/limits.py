"""Limit the concurrent streams of one user in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from shared import errors

_RETRY_AFTER = 5.0  #: seconds


class StreamLimits:
    """Counts open streams by their holders."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def take(self, holder: str) -> Callable[[], None]:
        """Count one stream of `holder` until the returned function is called. Raises `errors.TooManyRequests`."""
        if self._open[holder] >= self._most:
            raise errors.TooManyRequests(
                f"you already follow {self._most} streams, the maximum: close one first", retry_after=_RETRY_AFTER
            )
        self._open[holder] += 1

        def give_back() -> None:
            self._open[holder] -= 1
            if not self._open[holder]:
                del self._open[holder]

        return give_back
