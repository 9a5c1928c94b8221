"""The interface of a way to authenticate users."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from shared.models.user import User

#: Reads one stored user; None if there is none.
Find = Callable[[str], Awaitable[User | None]]


class Provider(Protocol):
    """Authenticates users by a secret."""

    async def authenticate(self, user: str, secret: str) -> User | None:
        """
        Return the active user whose secret it is. Return None otherwise, whatever the reason and after the same time.
        Raises `errors.Unavailable` if that cannot be decided, `errors.NotAllowed` if the user cannot use this system.
        """
        ...
