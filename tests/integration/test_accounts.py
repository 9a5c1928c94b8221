"""Users made by command, on a real MongoDB: each has a number of their own, whoever else is made or deleted meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from godocker import accounts
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
