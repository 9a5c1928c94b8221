"""Make, list, activate and delete users, with the numbers that their tasks run as."""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass

from godocker.admin import uid_ranges
from shared import clock, errors
from shared.auth import apikeys
from shared.models.deletion import Deletion
from shared.models.user import DOCKER_MOST as MOST
from shared.models.user import USER_ID, User
from shared.settings import Settings
from shared.store import stores

ADMIN = "admin"
NOBODY = (65534, 65535)  #: the overflow uid of kernels and NFS, and the one that meant -1 in 16 bits
FIRST_OF_PEOPLE = 1000  #: below are accounts of the system
_HOME = re.compile(r"(/[\w.@+-]+)+")


@dataclass(frozen=True, slots=True)
class NewUser:
    """What is asked of a new user. None: by the rules of `numbers`."""

    login: str
    admin: bool = False
    uid: int | None = None
    gid: int | None = None
    shared_uid: bool = False  #: another user may have the uid already: their tasks can then change each other's files
    home: str | None = None
    email: str | None = None
    guest: bool = False


async def add(settings: Settings, new: NewUser) -> str:
    """
    Make a user and return the API key, which nobody can read again.

    Raises `errors.InvalidInput` for a login that is no account name and for numbers that nobody can have, `errors.Conflict` for a
    login that exists and for a uid that is another user's.
    """
    if not USER_ID.fullmatch(new.login):
        raise errors.InvalidInput.of("login", f"must match {USER_ID.pattern}")
    for name, number in (("uid", new.uid), ("gid", new.gid)):
        if number is not None and not 0 <= number <= MOST:
            raise errors.InvalidInput.of(name, f"must be between 0 and {MOST}, the highest that an engine takes")
    async with stores.connect(settings) as store:
        uid, gid = await _numbers(store, new, uid_ranges.first(settings, await store.identity.ensure()))
        other = await store.users.of_uid(uid)
        if other not in (None, new.login) and not new.shared_uid:
            raise errors.Conflict(
                f"the uid {uid} is that of the user {other}: choose another with --uid, or say --shared-uid if the tasks of both "
                "may change each other's files"
            )
        key = apikeys.generate()
        user = User(
            id=new.login,
            uid=uid,
            gid=gid,
            home=new.home or (_guest_home(new, settings) if new.guest else _home(new.login, uid)),
            email=new.email,
            admin=new.admin,
            guest=new.guest,
            active=not new.guest,  # a guest is let in by an admin
            apikey=key.stored,
            created_at=clock.now(),
        )
        await store.users.add(user)
        return key.secret


async def add_first(settings: Settings) -> str | None:
    """Make the user `admin` where there is no user at all, and return its API key; None where there is one."""
    async with stores.connect(settings) as store:
        await store.ensure_indexes()
        if await store.users.list():
            return None
    ours = (os.getuid(), os.getgid()) if os.geteuid() != 0 else (None, None)
    return await add(settings, NewUser(ADMIN, admin=True, uid=ours[0], gid=ours[1]))


@dataclass(frozen=True, slots=True)
class NewKey:
    """`staying` says what else of the user is still good, as a sentence; None where there is nothing."""

    apikey: str
    staying: str | None


async def replace_key(settings: Settings, login: str, *, everything: bool = False) -> NewKey:
    """
    A new API key of a user; the old one is void at once, and with `everything` application tokens and shares of tasks as well.
    Raises `errors.NotFound`.
    """
    async with stores.connect(settings) as store:
        key = apikeys.generate()
        if not await store.users.set_apikey(login, key.stored):
            raise errors.NotFound(f"no user {login}")
        if everything:
            await store.app_tokens.remove_of(login)
            await store.owned.end_shares(login)
        shares = await store.owned.count_shares(login, at=clock.now())
        app_tokens = await store.app_tokens.count(login)
        return NewKey(key.secret, apikeys.staying(app_tokens=app_tokens, shares=shares))


async def activate(settings: Settings, login: str, *, active: bool) -> None:
    """Let a user in, or shut them out. Raises `errors.NotFound`, also for one who is being deleted."""
    async with stores.connect(settings) as store:
        if await store.users.change(login, {"active": active}) is None:
            raise errors.NotFound(f"no user {login}, or one who is being deleted")


async def delete(settings: Settings, login: str) -> None:
    """
    Shut a user out and let the watchers delete all that is theirs: tasks, files, usage. Raises `errors.NotFound`.
    """
    async with stores.connect(settings) as store:
        if await store.users.get(login) is None:
            raise errors.NotFound(f"no user {login}")
        await store.deletions.ask(Deletion(id=login, asked_by="godocker", asked_at=clock.now()))
        await store.users.shut_out(login)


async def every(settings: Settings) -> list[User]:
    """All users by name."""
    async with stores.connect(settings) as store:
        return await store.users.list()


async def _numbers(store: stores.Stores, new: NewUser, start: int) -> tuple[int, int]:
    """
    uid and gid: what was asked, else those of the system account of that name, else the next free number. Those of root and of
    other accounts of the system are never taken over: being called `root` or `nobody` here gives no right over the hosts.
    """
    account = _account(new.login)
    uid = new.uid
    if uid is None and account is not None and not _is_of_system(account.pw_uid):
        uid = account.pw_uid
    if uid is None:
        uid = await store.users.reserve_uid(start, unusable=NOBODY)
        while _is_taken(uid) or uid in NOBODY:
            uid = await store.users.reserve_uid(start, unusable=NOBODY)
    if new.gid is not None:
        return uid, new.gid
    theirs = account is not None and uid == account.pw_uid and not _is_of_system(account.pw_gid, group=True)
    return uid, account.pw_gid if account is not None and theirs else uid


def _is_of_system(number: int, *, group: bool = False) -> bool:
    """
    Whether a number is not a person's (login.defs(5), `UID_MIN`). A group may be: `users` has a low one, and people are in it.
    """
    return number in NOBODY or (number == 0 if group else number < FIRST_OF_PEOPLE)


def _account(login: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(login)
    except KeyError:
        return None


def _is_taken(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _guest_home(new: NewUser, settings: Settings) -> str | None:
    return str(settings.guest_home_root / new.login) if settings.guest_home_root else None


def _home(login: str, uid: int) -> str | None:
    """The home of the system account, where the user is that account."""
    account = _account(login)
    return account.pw_dir if account and account.pw_uid == uid and _HOME.fullmatch(account.pw_dir) else None
