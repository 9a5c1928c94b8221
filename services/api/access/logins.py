"""Find out who logs in, within the limits for those who fail."""

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

_AT_A_TIME = 8  #: passwords of one origin that are tried at a time: what is under way is not counted yet


class Logins:
    """The door of the gateway."""

    def __init__(self, providers: Providers, attempts: LoginAttempts) -> None:
        self._providers = providers
        self._attempts = attempts
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def log_in(self, user: str, secret: str, address: str, *, now: float) -> User:
        """
        The user whose secret it is, who comes from `address`. Raises `errors.NotAuthenticated`, the same whatever is wrong,
        `errors.TooManyRequests`, and what the providers raise.
        """
        name = user.lower()  # a directory compares so, and there are no capitals in names here
        await self._attempts.check_pair(name, address, now=now)
        # A key cannot be guessed: whoever has it is let in however many others fail.
        found = await self._providers.by_key.authenticate(user, secret)
        if found is None:
            found = await self._by_password(name, user, secret, address, now)
        await self._attempts.succeeded(found.id, address)
        return found

    async def _by_password(self, name: str, user: str, secret: str, address: str, now: float) -> User:
        async with self._turn(address):
            await self._attempts.check(name, address, now=now)
            found = None
            if self._providers.by_password is not None:
                found = await self._providers.by_password.authenticate(user, secret)
            if found is None:
                await self._attempts.failed(name, address, now=now)
                # What is no name of an account may well be a password in the wrong field.
                log.info("login.failed", user=name if USER_ID.fullmatch(name) else "…", address=address)
                raise errors.NotAuthenticated("unknown user or wrong API key")
        return found

    def _turn(self, address: str) -> asyncio.Semaphore:
        origin = origin_of(address)
        turn = self._turns.get(origin)
        if turn is None:
            turn = self._turns[origin] = asyncio.Semaphore(_AT_A_TIME)
        return turn
