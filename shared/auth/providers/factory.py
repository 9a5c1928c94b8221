"""The provider that the settings ask for."""

from __future__ import annotations

from collections.abc import Sequence

from shared.auth.providers.base import Find, Provider
from shared.auth.providers.directory import Directory
from shared.auth.providers.ldap import Ldap
from shared.auth.providers.local import Local
from shared.models.user import User
from shared.settings import Settings
from shared.store.users import UserStore


class _InTurn:
    """Several providers; the first that knows the user counts."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = providers

    async def authenticate(self, user: str, secret: str) -> User | None:
        for provider in self._providers:
            found = await provider.authenticate(user, secret)
            if found is not None:
                return found
        return None


def build(settings: Settings, users: UserStore, find: Find) -> Provider:
    """API keys first: they need nothing outside, and go on working while a directory does not answer."""
    local = Local(find)
    if settings.auth_policy == "local":
        return local
    return _InTurn([local, Ldap(Directory(settings), users, deadline=settings.ldap_timeout)])
