"""Limit how often somebody may try to log in."""

from __future__ import annotations

from collections import Counter

import structlog

from shared import errors
from shared.broker.broker import Broker
from shared.settings import Settings

log = structlog.get_logger(__name__)

_MINUTE = 60


class LoginAttempts:
    """
    Counts tries per user and address and minute, so that guessing at somebody's key locks nobody else out. Counted in Redis for
    all gateways together; in this process alone while Redis does not answer, so that its loss opens no door.
    """

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._own: Counter[tuple[str, str]] = Counter()
        self._own_minute = 0

    async def check(self, user: str, address: str, *, now: float) -> None:
        """Count one try at `now` (seconds since the epoch). Raises `errors.TooManyRequests` over the limit."""
        minute = int(now) // _MINUTE
        own = self._count_own(user, address, minute)
        try:
            count = max(own, await self._broker.count_try(user, address, minute=minute))
        except errors.BrokerUnavailable:
            log.warning("login.counted_here_only")
            count = own
        limit = self._settings.authenticate_limit
        if count > limit:
            raise errors.TooManyRequests(
                f"too many tries to log in: {limit} a minute are allowed", retry_after=_MINUTE - now % _MINUTE
            )

    def _count_own(self, user: str, address: str, minute: int) -> int:
        if minute != self._own_minute:
            self._own.clear()
            self._own_minute = minute
        self._own[user, address] += 1
        return self._own[user, address]
