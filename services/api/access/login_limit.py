"""Limit failed logins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from shared import errors
from shared.auth.origins import origin_of
from shared.broker.broker import Broker
from shared.broker.keys import Failures
from shared.settings import Settings

log = structlog.get_logger(__name__)

_MINUTE = 60
_HOUR = 3600
_SLOW = 10  #: default hourly limit of one user over all origins, as a multiple of the limit per minute
_MAX_REMEMBERED = 10_000  #: successful users and origins that this process remembers by itself


@dataclass(frozen=True, slots=True)
class _Limit:
    """A number of failures that are allowed within a window."""

    count: Failures
    allowed: int
    window: int  #: seconds
    subject: str  #: for messages


class LoginAttempts:
    """
    Counts failures, never successes: per user and origin, per origin over all users, and per user over all origins and
    a longer window. The last two do not apply to an origin where the user has logged in before: an attacker who guesses
    at a user's key cannot lock that user out.

    Redis counts for all gateways together. While it does not answer, each process counts alone, so that its loss opens
    no door.
    """

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._counts: Counter[Failures] = Counter()
        self._minute = 0
        self._successes: dict[tuple[str, str], None] = {}

    async def check_pair(self, user: str, address: str, *, now: float) -> None:
        """Raise `errors.TooManyRequests` if `user` failed too often from the origin of `address`."""
        pair = self._limits(user, origin_of(address), now)[0]
        self._check([pair], await self._counts_of([pair.count]), now)

    async def check(self, user: str, address: str, *, now: float) -> None:
        """Raise `errors.TooManyRequests` if a password may not be tried now (`now` in seconds since the epoch)."""
        origin = origin_of(address)
        limits = self._limits(user, origin, now)
        counts = await self._counts_of([limit.count for limit in limits])
        if await self._succeeded_before(user, origin):
            limits = limits[:1]
        self._check(limits, counts, now)

    async def failed(self, user: str, address: str, *, now: float) -> None:
        """Count a failure."""
        limits = self._limits(user, origin_of(address), now)
        self._forget_old(now)
        for limit in limits:
            self._counts[limit.count] += 1
        try:
            shared = await self._broker.count_failures([(limit.count, limit.window) for limit in limits])
        except errors.BrokerUnavailable:
            log.warning("login.counted_here_only")
            shared = {}
        for limit in limits:
            # Logged once per window: the number of attempts is in the attacker's hands.
            if max(self._counts[limit.count], shared.get(limit.count, 0)) == limit.allowed:
                log.warning("login.limit_reached", by=limit.subject, name=limit.count.name, origin=limit.count.origin)

    async def succeeded(self, user: str, address: str) -> None:
        """Remember that the user logged in from this origin."""
        origin = origin_of(address)
        self._successes.pop((user, origin), None)
        self._successes[user, origin] = None
        if len(self._successes) > _MAX_REMEMBERED:
            del self._successes[next(iter(self._successes))]
        try:
            await self._broker.note_good(user, origin)
        except errors.BrokerUnavailable:
            log.debug("login.remembered_here_only")

    def _limits(self, user: str, origin: str, now: float) -> tuple[_Limit, ...]:
        per_pair, minute, hour = self._settings.authenticate_limit, int(now) // _MINUTE, int(now) // _HOUR
        per_origin = self._settings.authenticate_limit_address or per_pair
        per_user = self._settings.authenticate_limit_user or per_pair * _SLOW
        return (
            _Limit(Failures(user, origin, minute), per_pair, _MINUTE, "user and address"),
            _Limit(Failures(None, origin, minute), per_origin, _MINUTE, "address"),
            _Limit(Failures(user, None, hour), per_user, _HOUR, "user"),
        )

    @staticmethod
    def _check(limits: Iterable[_Limit], counts: Mapping[Failures, int], now: float) -> None:
        over = [limit for limit in limits if counts[limit.count] >= limit.allowed]
        if over:
            wait = max(limit.window - now % limit.window for limit in over)
            raise errors.TooManyRequests(
                f"too many failed logins of this {over[0].subject}: try again in {round(wait) or 1} seconds",
                retry_after=wait,
            )

    async def _counts_of(self, counts: list[Failures]) -> Mapping[Failures, int]:
        try:
            shared = await self._broker.failures(counts)
        except errors.BrokerUnavailable:
            log.warning("login.counted_here_only")
            shared = {}
        return {count: max(self._counts[count], shared.get(count, 0)) for count in counts}

    async def _succeeded_before(self, user: str, origin: str) -> bool:
        if (user, origin) in self._successes:
            return True
        try:
            return await self._broker.was_good(user, origin)
        except errors.BrokerUnavailable:
            return False

    def _forget_old(self, now: float) -> None:
        minute, hour = int(now) // _MINUTE, int(now) // _HOUR
        if minute != self._minute:
            self._minute = minute
            self._counts = Counter(
                {
                    count: failures
                    for count, failures in self._counts.items()
                    if count.window == (hour if count.origin is None else minute)
                }
            )
