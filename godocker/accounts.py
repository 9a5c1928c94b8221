"""Make, list, activate and delete users, with the numbers that their tasks run as."""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass

from shared import clock, errors
from shared.auth import apikeys
from shared.models.deletion import Deletion
from shared.models.user import USER_ID, User
from shared.settings import Settings
from shared.store import stores

ADMIN = "admin"
_HOME = re.compile(r"(/[\w.@+-]+)+")


@dataclass(frozen=True, slots=True)
class NewUser:
    """What is asked of a new user. None: by the rules of `numbers`."""

    login: str
    admin: bool = False
    uid: int | None = None
    gid: int | None = None
    home: str | None = None
    email: str | None = None
    guest: bool = False


async def add(settings: Settings, new: NewUser) -> str:
    """
    Make a user and return the API key, which nobody can read again.

    Raises `errors.InvalidInput` for a login that is no account name, `errors.Conflict` for one that exists.
    """
    if not USER_ID.fullmatch(new.login):
        raise errors.InvalidInput.of("login", f"must match {USER_ID.pattern}")
    async with stores.connect(settings) as store:
        uid, gid = await _numbers(store, new, settings.uid_start)
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


async def replace_key(settings: Settings, login: str) -> str:
    """A new API key of a user; the old one is void at once. Raises `errors.NotFound`."""
    async with stores.connect(settings) as store:
        key = apikeys.generate()
        if not await store.users.set_apikey(login, key.stored):
            raise errors.NotFound(f"no user {login}")
        return key.secret


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
    uid and gid: what was asked, else those of the system account of that name, else the next free number. Root's are
    never taken over: being called `root` here gives no right over the hosts.
    """
    account = _account(new.login)
    uid = new.uid if new.uid is not None else (account.pw_uid if account else 0) or None
    if uid is None:
        uid = await store.users.reserve_uid(start)
        while _is_taken(uid):
            uid = await store.users.reserve_uid(start)
    gid = new.gid if new.gid is not None else (account.pw_gid if account and uid == account.pw_uid else 0) or uid
    return uid, gid


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
