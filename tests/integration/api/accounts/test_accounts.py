"""Users created by command on a real MongoDB: each has a number of their own, even under concurrency."""

from __future__ import annotations

import asyncio
import pwd

import pytest

from godocker.admin import accounts
from shared import errors
from shared.settings import Settings
from shared.store.stores import Stores

pytestmark = pytest.mark.stores


async def uids(opened: Stores) -> dict[str, int]:
    return {user.id: user.uid for user in await opened.users.list()}


async def test_users_who_are_made_at_once_have_numbers_of_their_own(settings: Settings, opened: Stores) -> None:
    names = [f"student{number}" for number in range(12)]
    keys = await asyncio.gather(*(accounts.add(settings, accounts.NewUser(name)) for name in names))
    found = await uids(opened)
    assert found.keys() == set(names)
    assert len(set(found.values())) == len(set(keys)) == len(names)
    assert min(found.values()) >= settings.uid_start


async def test_the_number_of_a_deleted_user_is_not_given_again(settings: Settings, opened: Stores) -> None:
    await accounts.add(settings, accounts.NewUser("alice"))
    await accounts.add(settings, accounts.NewUser("bob"))
    before = await uids(opened)
    await accounts.delete(settings, "bob")
    await opened.users.remove("bob")
    await accounts.add(settings, accounts.NewUser("carol"))
    assert (await uids(opened))["carol"] not in before.values()


async def test_a_number_that_was_asked_for_is_passed_over(settings: Settings, opened: Stores) -> None:
    await accounts.add(settings, accounts.NewUser("alice", uid=settings.uid_start + 10))
    await accounts.add(settings, accounts.NewUser("bob"))
    found = await uids(opened)
    assert found["bob"] > found["alice"] == settings.uid_start + 10


async def test_a_name_is_given_once(settings: Settings, opened: Stores) -> None:
    made = await asyncio.gather(
        *(accounts.add(settings, accounts.NewUser("alice")) for _ in range(4)), return_exceptions=True
    )
    assert [type(answer) for answer in made if isinstance(answer, Exception)] == [errors.Conflict] * 3
    assert len(await uids(opened)) == 1


@pytest.mark.parametrize("unasked", [False, True])
async def test_the_uid_of_another_user_is_used_only_on_request(
    settings: Settings, opened: Stores, monkeypatch: pytest.MonkeyPatch, unasked: bool
) -> None:
    """`unasked`: the uid is that of the system account of the same name."""
    await accounts.add(settings, accounts.NewUser("alice", uid=20500))
    if unasked:
        account(monkeypatch, "bob", 20500, 20500)
    uid = None if unasked else 20500
    with pytest.raises(errors.Conflict, match="20500 belongs to user alice"):
        await accounts.add(settings, accounts.NewUser("bob", uid=uid))
    assert "bob" not in await uids(opened)
    await accounts.add(settings, accounts.NewUser("bob", uid=uid, shared_uid=True))
    assert (await uids(opened))["bob"] == 20500


async def test_of_several_who_ask_for_a_uid_at_once_one_gets_it(settings: Settings, opened: Stores) -> None:
    names = [f"user{number}" for number in range(8)]
    made = await asyncio.gather(
        *(accounts.add(settings, accounts.NewUser(name, uid=20500)) for name in names), return_exceptions=True
    )
    refused = [answer for answer in made if isinstance(answer, BaseException)]
    assert [type(answer) for answer in refused] == [errors.Conflict] * 7
    (winner,) = await uids(opened)
    assert {str(answer).partition(":")[0] for answer in refused} == {f"uid 20500 belongs to user {winner}"}


@pytest.mark.parametrize("number", [1, 33, 999, 65534, 65535])
async def test_numbers_of_system_accounts_are_used_only_on_request(
    settings: Settings, opened: Stores, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    account(monkeypatch, "service", number, number)
    await accounts.add(settings, accounts.NewUser("service"))
    made = await opened.users.get("service")
    assert made is not None
    assert made.uid == made.gid >= settings.uid_start
    assert made.home is None


async def test_a_person_of_this_machine_keeps_uid_group_and_home(
    settings: Settings, opened: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    account(monkeypatch, "carol", 1234, 100)
    await accounts.add(settings, accounts.NewUser("carol"))
    made = await opened.users.get("carol")
    assert made is not None
    assert (made.uid, made.gid, made.home) == (1234, 100, "/home/carol")


async def test_the_account_nobody_does_not_raise_the_next_number(settings: Settings, opened: Stores) -> None:
    await accounts.add(settings, accounts.NewUser("nobody", uid=65534))
    await accounts.add(settings, accounts.NewUser("former", uid=65535))
    await accounts.add(settings, accounts.NewUser("alice"))
    assert (await uids(opened))["alice"] == settings.uid_start


async def test_the_numbers_of_nobody_are_passed_over(settings: Settings, opened: Stores) -> None:
    await accounts.add(settings, accounts.NewUser("alice", uid=65533))
    await accounts.add(settings, accounts.NewUser("bob"))
    assert (await uids(opened))["bob"] == 65536


@pytest.mark.parametrize("number", [-1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("field", ["uid", "gid"])
async def test_a_number_that_nobody_can_have_is_refused(
    settings: Settings, opened: Stores, field: str, number: int
) -> None:
    with pytest.raises(errors.InvalidInput, match=field):
        await accounts.add(settings, accounts.NewUser("alice", **{field: number}))  # type: ignore[arg-type]
    assert await uids(opened) == {}


def account(monkeypatch: pytest.MonkeyPatch, login: str, uid: int, gid: int) -> None:
    """A system account of this machine."""
    entry = pwd.struct_passwd((login, "x", uid, gid, "", f"/home/{login}", "/bin/sh"))

    def by_name(name: str) -> pwd.struct_passwd:
        if name == login:
            return entry
        raise KeyError(name)

    monkeypatch.setattr(accounts.pwd, "getpwnam", by_name)
