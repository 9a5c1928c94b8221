"""Log users in, within the limits on failed logins."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

import structlog

from services.api.access.login_limit import LoginAttempts
from shared import errors
from shared.auth.origins import origin_of
from shared.auth.providers.factory import Providers
from shared.models.user import USER_ID, User

log = structlog.get_logger(__name__)

_MAX_CONCURRENT = 8  #: passwords of one origin checked at a time: checks in progress are not counted yet


class Logins:
    """Checks API keys and passwords."""

    def __init__(self, providers: Providers, attempts: LoginAttempts) -> None:
        self._providers = providers
        self._attempts = attempts
        self._queues: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def log_in(self, user: str, secret: str, address: str, *, now: float) -> User:
        """
        Return the user with this secret, who connects from `address`. Raises `errors.NotAuthenticated` with the same
        message whatever is wrong, `errors.TooManyRequests`, and what the providers raise.
        """
        name = user.lower()  # a directory ignores case, and our names have no capitals
        await self._attempts.check_pair(name, address, now=now)
        # A key cannot be guessed: its holder gets in however many others fail.
        known = await self._providers.by_key.authenticate(user, secret)
        if known is None:
            known = await self._by_password(name, user, secret, address, now)
        await self._attempts.succeeded(known.id, address)
        return known

    async def _by_password(self, name: str, user: str, secret: str, address: str, now: float) -> User:
        async with self._queue(address):
            await self._attempts.check(name, address, now=now)
            known = None
            if self._providers.by_password is not None:
                known = await self._providers.by_password.authenticate(user, secret)
            if known is None:
                await self._attempts.failed(name, address, now=now)
                # A text that is not an account name may be a password in the wrong field.
                log.info("login.failed", user=name if USER_ID.fullmatch(name) else "…", address=address)
                raise errors.NotAuthenticated("unknown user or wrong API key")
        return known

    def _queue(self, address: str) -> asyncio.Semaphore:
        origin = origin_of(address)
        queue = self._queues.get(origin)
        if queue is None:
            queue = self._queues[origin] = asyncio.Semaphore(_MAX_CONCURRENT)
        return queue
