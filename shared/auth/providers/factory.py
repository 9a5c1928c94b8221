"""Build the providers that the settings ask for."""

from __future__ import annotations

from dataclasses import dataclass

from shared.auth.providers.base import Find, Provider
from shared.auth.providers.directory import Directory
from shared.auth.providers.ldap import Ldap
from shared.auth.providers.local import Local
from shared.models.user import highest_number
from shared.settings import Settings
from shared.store.accounts.users import UserStore


@dataclass(frozen=True, slots=True)
class Providers:
    """API keys come first: they need no outside server and work while a directory does not answer."""

    by_key: Provider
    by_password: Provider | None  #: None: no directory is configured


def build(settings: Settings, users: UserStore, find: Find) -> Providers:
    """Return the providers for `settings`."""
    if settings.auth_policy == "local":
        return Providers(Local(find), None)
    ldap = Ldap(Directory(settings), users, deadline=settings.ldap_timeout, most=highest_number(settings.executor))
    return Providers(Local(find), ldap)
