"""Limit how often somebody may fail to log in."""

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
_SLOW = 10  #: minutes' failures of one origin, that may be made of one name in an hour from all
_REMEMBERED = 10_000  #: places where somebody was good before, that this process knows by itself


@dataclass(frozen=True, slots=True)
class _Limit:
    """So many failures in a window of so many seconds are let pass."""

    count: Failures
    most: int
    window: int
    whose: str


class LoginAttempts:
    """
    Counts failures, never successes: per user and origin, per origin over all names, and slowly per user over all origins. The
    last two do not hold where the user was good before, so that guessing at somebody's key locks them out nowhere they come from.

    Counted in Redis for all gateways together; in this process alone while Redis does not answer, so that its loss opens no door.
    """

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._own: Counter[Failures] = Counter()
        self._own_minute = 0
        self._good: dict[tuple[str, str], None] = {}

    async def check_pair(self, user: str, address: str, *, now: float) -> None:
        """Raises `errors.TooManyRequests` where `user` failed too often from the origin of `address`."""
        pair = self._limits(user, origin_of(address), now)[0]
        self._refuse([pair], await self._counted([pair.count]), now)

    async def check(self, user: str, address: str, *, now: float) -> None:
        """Raises `errors.TooManyRequests` where a password may not be tried now (`now` is seconds since the epoch)."""
        origin = origin_of(address)
        limits = self._limits(user, origin, now)
        counted = await self._counted([limit.count for limit in limits])
        if await self._was_good(user, origin):
            limits = limits[:1]
        self._refuse(limits, counted, now)

    async def failed(self, user: str, address: str, *, now: float) -> None:
        """Count a failure."""
        limits = self._limits(user, origin_of(address), now)
        self._forget_old(now)
        for limit in limits:
            self._own[limit.count] += 1
        try:
            counted = await self._broker.count_failures([(limit.count, limit.window) for limit in limits])
        except errors.BrokerUnavailable:
            log.warning("login.counted_here_only")
            counted = {}
        for limit in limits:
            # Once in each window, however many tries follow: whoever tries chooses how many.
            if max(self._own[limit.count], counted.get(limit.count, 0)) == limit.most:
                log.warning("login.limit_reached", by=limit.whose, name=limit.count.name, origin=limit.count.origin)

    async def succeeded(self, user: str, address: str) -> None:
        """Remember where somebody was good."""
        origin = origin_of(address)
        self._good.pop((user, origin), None)
        self._good[user, origin] = None
        if len(self._good) > _REMEMBERED:
            del self._good[next(iter(self._good))]
        try:
            await self._broker.note_good(user, origin)
        except errors.BrokerUnavailable:
            log.debug("login.remembered_here_only")

    def _limits(self, user: str, origin: str, now: float) -> tuple[_Limit, ...]:
        most, minute, hour = self._settings.authenticate_limit, int(now) // _MINUTE, int(now) // _HOUR
        of_origin = self._settings.authenticate_limit_address or most
        of_name = self._settings.authenticate_limit_user or most * _SLOW
        return (
            _Limit(Failures(user, origin, minute), most, _MINUTE, "user and address"),
            _Limit(Failures(None, origin, minute), of_origin, _MINUTE, "address"),
            _Limit(Failures(user, None, hour), of_name, _HOUR, "user"),
        )

    @staticmethod
    def _refuse(limits: Iterable[_Limit], counted: Mapping[Failures, int], now: float) -> None:
        over = [limit for limit in limits if counted[limit.count] >= limit.most]
        if over:
            wait = max(limit.window - now % limit.window for limit in over)
            raise errors.TooManyRequests(
                f"too many failed logins of this {over[0].whose}: try again in {round(wait) or 1} seconds",
                retry_after=wait,
            )

    async def _counted(self, counts: list[Failures]) -> Mapping[Failures, int]:
        try:
            theirs = await self._broker.failures(counts)
        except errors.BrokerUnavailable:
            log.warning("login.counted_here_only")
            theirs = {}
        return {count: max(self._own[count], theirs.get(count, 0)) for count in counts}

    async def _was_good(self, user: str, origin: str) -> bool:
        if (user, origin) in self._good:
            return True
        try:
            return await self._broker.was_good(user, origin)
        except errors.BrokerUnavailable:
            return False

    def _forget_old(self, now: float) -> None:
        minute, hour = int(now) // _MINUTE, int(now) // _HOUR
        if minute != self._own_minute:
            self._own_minute = minute
            self._own = Counter(
                {
                    count: tries
                    for count, tries in self._own.items()
                    if count.window == (hour if count.origin is None else minute)
                }
            )
