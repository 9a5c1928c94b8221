"""Users by their API keys, which are accepted whatever else is configured."""

from __future__ import annotations

from shared.auth import apikeys
from shared.auth.providers.base import Find
from shared.models.user import User


class Local:
    """Compares with the hash of the user's key."""

    def __init__(self, find: Find) -> None:
        self._find = find

    async def authenticate(self, user: str, secret: str) -> User | None:
        found = await self._find(user)
        if found is None and user != user.lower():
            found = await self._find(user.lower())  # names are lower case here
        # The same time whether the user exists or not.
        fits = apikeys.matches(secret, found.apikey if found else apikeys.NOBODY)
        return found if found is not None and fits and found.active else None
