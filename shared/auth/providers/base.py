"""What every way of establishing who somebody is looks like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from shared.models.user import User

#: Reads one user of ours; None where there is none.
Find = Callable[[str], Awaitable[User | None]]


class Provider(Protocol):
    """Knows users by a secret of theirs."""

    async def authenticate(self, user: str, secret: str) -> User | None:
        """
        The active user whose secret it is. None otherwise, whatever the reason, and after the same time. Raises
        `errors.Unavailable` where it cannot be said, `errors.NotAllowed` where who it is cannot use this system.
        """
        ...
