"""Add, list, activate and delete users, and choose the uid and gid of their tasks."""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass

from godocker.admin import uid_ranges
from shared import clock, errors
from shared.auth import apikeys
from shared.models.user import DOCKER_MOST as HIGHEST_ID
from shared.models.user import USER_ID, Deletion, User
from shared.settings import Settings
from shared.store import stores

ADMIN = "admin"
NOBODY = (65534, 65535)  #: the overflow uid of kernels and NFS, and -1 as 16 bits
FIRST_OF_PEOPLE = 1000  #: lower uids belong to system accounts
_HOME = re.compile(r"(/[\w.@+-]+)+")


@dataclass(frozen=True, slots=True)
class NewUser:
    """Properties of a user to add. None: chosen by the system."""

    login: str
    admin: bool = False
    uid: int | None = None
    gid: int | None = None
    shared_uid: bool = False  #: accept the uid of another user; the tasks of both can change each other's files
    home: str | None = None
    email: str | None = None
    guest: bool = False


async def add(settings: Settings, new: NewUser) -> str:
    """
    Add a user and return the API key, which cannot be read again.

    Raises `errors.InvalidInput` for an invalid login, uid or gid, `errors.Conflict` for a login that exists and for a uid of
    another user.
    """
    if not USER_ID.fullmatch(new.login):
        raise errors.InvalidInput.of("login", f"must match {USER_ID.pattern}")
    for name, number in (("uid", new.uid), ("gid", new.gid)):
        if number is not None and not 0 <= number <= HIGHEST_ID:
            raise errors.InvalidInput.of(
                name, f"must be between 0 and {HIGHEST_ID}, the highest that a Docker Engine accepts"
            )
    async with stores.connect(settings) as store:
        uid, gid = await _numbers(store, new, uid_ranges.first(settings, await store.identity.ensure()))
        key = apikeys.generate()
        user = User(
            id=new.login,
            uid=uid,
            gid=gid,
            home=new.home or (_guest_home(new, settings) if new.guest else _home(new.login, uid)),
            email=new.email,
            admin=new.admin,
            guest=new.guest,
            active=not new.guest,  # an admin activates a guest
            apikey=key.stored,
            created_at=clock.now(),
        )
        if new.shared_uid:
            await store.users.add(user)
        elif (other := await store.users.add_with_own_uid(user)) is not None:
            raise errors.Conflict(
                f"uid {uid} belongs to user {other}: choose another with --uid, or pass --shared-uid to let the tasks of both "
                "users change each other's files"
            )
        return key.secret


async def add_first(settings: Settings) -> str | None:
    """Add the user `admin` if there are no users, and return the API key; None if there are users."""
    async with stores.connect(settings) as store:
        await store.ensure_indexes()
        if await store.users.list():
            return None
    ours = (os.getuid(), os.getgid()) if os.geteuid() != 0 else (None, None)
    return await add(settings, NewUser(ADMIN, admin=True, uid=ours[0], gid=ours[1]))


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new API key. `still_valid` is a sentence about the user's other valid secrets; None if there are none."""

    apikey: str
    still_valid: str | None


async def replace_key(settings: Settings, login: str, *, everything: bool = False) -> NewKey:
    """
    Replace a user's API key. The old one stops working at once; with `everything`, application tokens and share tokens too.
    Raises `errors.NotFound`.
    """
    async with stores.connect(settings) as store:
        key = apikeys.generate()
        if not await store.users.set_apikey(login, key.stored):
            raise errors.NotFound(f"there is no user {login}")
        if everything:
            await store.app_tokens.remove_of(login)
            await store.owned.end_shares(login)
        shares = await store.owned.count_shares(login, at=clock.now())
        app_tokens = await store.app_tokens.count(login)
        return NewKey(key.secret, apikeys.staying(app_tokens=app_tokens, shares=shares))


async def activate(settings: Settings, login: str, *, active: bool) -> None:
    """Activate or deactivate a user. Raises `errors.NotFound`, also for a user who is being deleted."""
    async with stores.connect(settings) as store:
        if await store.users.change(login, {"active": active}) is None:
            raise errors.NotFound(f"there is no user {login}, or the user is being deleted")


async def delete(settings: Settings, login: str) -> None:
    """Deactivate a user and request the deletion of their tasks, files and usage. Raises `errors.NotFound`."""
    async with stores.connect(settings) as store:
        if await store.users.get(login) is None:
            raise errors.NotFound(f"there is no user {login}")
        await store.deletions.ask(Deletion(id=login, asked_by="godocker", asked_at=clock.now()))
        await store.users.shut_out(login)


async def every(settings: Settings) -> list[User]:
    """Return all users, ordered by name."""
    async with stores.connect(settings) as store:
        return await store.users.list()


async def _numbers(store: stores.Stores, new: NewUser, start: int) -> tuple[int, int]:
    """
    Return uid and gid: as requested, else those of the host's account of that name, else the next free number. Numbers of root
    and other system accounts are never taken over: a user called `root` or `nobody` here gets no rights on the hosts.
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
    is_account = account is not None and uid == account.pw_uid and not _is_of_system(account.pw_gid, group=True)
    return uid, account.pw_gid if account is not None and is_account else uid


def _is_of_system(number: int, *, group: bool = False) -> bool:
    """
    Return whether a number belongs to a system account (login.defs(5), `UID_MIN`). Groups of people can have low numbers, as
    `users` has.
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
    """Return the home of the host's account if the user is that account."""
    account = _account(login)
    return account.pw_dir if account and account.pw_uid == uid and _HOME.fullmatch(account.pw_dir) else None
