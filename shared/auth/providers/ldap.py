"""Users by their passwords in an LDAP directory, created here at their first login."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import structlog

from shared import clock, errors
from shared.auth import apikeys
from shared.auth.providers.directory import Directory, Person
from shared.models.user import DOCKER_MOST, USER_ID, Source, User
from shared.store.accounts.users import UserStore
from shared.units import addresses

log = structlog.get_logger(__name__)

REFUSAL = 0.5  #: least seconds of a refusal, so that its time does not reveal the reason
_THREADS = 8  #: own threads, so that a hung directory blocks no others
_HOME = re.compile(r"(/[\w.@+-]+)+")

_UNUSABLE = "your account of the directory cannot be used here: {}. An administrator can help"


class Ldap:
    """Checks logins in the directory and keeps the stored users up to date."""

    def __init__(
        self,
        directory: Directory,
        users: UserStore,
        *,
        deadline: float,
        refusal_seconds: float = REFUSAL,
        most: int = DOCKER_MOST,
    ) -> None:
        """`most` is the highest uid and gid that tasks can run with."""
        self._directory = directory
        self._users = users
        self._deadline = deadline
        self._refusal_seconds = refusal_seconds
        self._most = most
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ldap")

    async def authenticate(self, user: str, secret: str) -> User | None:
        began = clock.monotonic()
        found = None
        # A text that is no account name here is refused, however the directory treats spaces; case is the directory's own.
        if user.isascii() and USER_ID.fullmatch(user.lower()):
            person = await self._ask(user, secret)
            found = await self._ours(self._with_usable_groups(person)) if person else None
        if found is None or not found.active:
            await asyncio.sleep(max(0.0, began + self._refusal_seconds - clock.monotonic()))
            return None
        return found

    async def _ask(self, login: str, password: str) -> Person | None:
        loop = asyncio.get_running_loop()
        try:
            # The thread ends by the driver's own timeouts; callers wait no longer than this.
            async with asyncio.timeout(self._deadline):
                return await loop.run_in_executor(self._threads, self._directory.person, login, password)
        except TimeoutError:
            log.warning("ldap.slow", deadline=self._deadline)
            raise errors.DirectoryUnavailable("the directory of users does not answer in time") from None

    async def _ours(self, person: Person) -> User | None:
        """Return the stored user of a person, created or refreshed; None if another user has that name."""
        known = await self._users.get(person.login)
        if known is None:
            try:
                return await self._make(person)
            except errors.Conflict:  # two first logins at once
                known = await self._users.get(person.login)
        if known is None or known.source is not Source.LDAP:
            # A local account is not taken over by a person of the same name in the directory.
            log.warning("ldap.local_account", user=person.login)
            return None
        if person.entry != person.login and person.uid != known.uid:
            # In a directory that distinguishes case, this is another person than the known one.
            log.error("ldap.name_taken", user=person.login, entry=person.entry, uid=person.uid, known=known.uid)
            raise errors.NotAllowed(_UNUSABLE.format("its name, but for capitals, belongs to another user"))
        self._check_numbers(known.id, known.uid, known.gid)
        return await self._refresh(known, person) if known.active else known

    async def _make(self, person: Person) -> User:
        if person.uid is None or person.gid is None:
            log.error("ldap.no_numbers", user=person.login, uid=person.uid, gid=person.gid)
            raise errors.NotAllowed(_UNUSABLE.format("it has no uid and gid that can be used, or root's"))
        self._check_numbers(person.login, person.uid, person.gid)
        other = await self._users.of_uid(person.uid)
        if other is not None and other != person.login:
            log.error("ldap.uid_taken", user=person.login, uid=person.uid, by=other)
            raise errors.NotAllowed(_UNUSABLE.format("its uid belongs to another user"))
        user = User(
            id=person.login,
            uid=person.uid,
            gid=person.gid,
            # No key has this hash: users create one when they want it.
            apikey=apikeys.generate().stored,
            created_at=clock.now(),
            source=Source.LDAP,
            **_changing(person),
        )
        await self._users.add(user)
        log.info("ldap.user_made", user=user.id, uid=user.uid, admin=user.admin)
        return user

    def _check_numbers(self, user: str, uid: int, gid: int) -> None:
        """Raise `errors.NotAllowed` if tasks cannot run as this user."""
        for name, number in (("uid", uid), ("gid", gid)):
            if number > self._most:
                log.error("ldap.number_too_high", user=user, **{name: number}, most=self._most)
                why = f"its {name} {number} is above {self._most}, the highest that a task can run with"
                raise errors.NotAllowed(_UNUSABLE.format(why))

    def _with_usable_groups(self, person: Person) -> Person:
        over = [number for number in person.groups if number > self._most]
        if over:
            log.warning("ldap.groups_left_out", user=person.login, groups=over, most=self._most)
        return replace(person, groups=tuple(number for number in person.groups if number not in over))

    async def _refresh(self, known: User, person: Person) -> User | None:
        if (person.uid, person.gid) != (known.uid, known.gid):
            log.warning("ldap.numbers_differ", user=known.id, uid=known.uid, uid_there=person.uid)
        now = _changing(person)
        if now["email"] is None:
            del now["email"]  # the user's own entry stays
        if all(getattr(known, name) == value for name, value in now.items()):
            return known
        log.info("ldap.user_refreshed", user=known.id, admin=now["admin"])
        return await self._users.change(known.id, now)


def _changing(person: Person) -> dict[str, Any]:
    """Return the fields that the directory decides at each login."""
    return {
        "sgids": list(person.groups),
        "home": person.home if person.home and _HOME.fullmatch(person.home) else None,
        "email": person.mail if person.mail and addresses.is_address(person.mail) else None,
        "admin": person.admin,
    }
