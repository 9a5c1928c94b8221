"""The identity of a system: unique, made once, by whoever comes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.settings import Settings
from shared.store.stores import Stores, connect
from tests.support import samples


@pytest.fixture
async def another(settings: Settings) -> AsyncIterator[Stores]:
    """A second service of the same system."""
    async with connect(settings) as made:
        yield made


async def test_services_that_start_together_agree_on_one_mark(opened: Stores, another: Stores) -> None:
    asked = (stores.identity.ensure() for stores in [opened, another] * 8)
    found = {identity.mark for identity in await asyncio.gather(*asked)}
    assert len(found) == 1
    assert await opened.database["schema"].count_documents({"_id": "identity"}) == 1


async def test_a_new_system_records_that_it_had_no_earlier_version(opened: Stores) -> None:
    await opened.prepare()
    identity = await opened.identity.ensure()
    assert identity.earlier is None
    await opened.prepare()
    assert await opened.identity.ensure() == identity


@pytest.mark.parametrize("left", ["leases", "tasks"])
async def test_a_system_of_an_earlier_version_keeps_the_label_of_its_runs(
    opened: Stores, settings: Settings, left: str
) -> None:
    document = samples.task(7).document() if left == "tasks" else {"_id": "scheduler", "holder": None}
    await opened.database[left].insert_one(document)
    await opened.prepare()
    assert (await opened.identity.ensure()).earlier == settings.instance


async def test_a_copy_with_its_own_mark_ignores_the_runs_of_its_original(opened: Stores) -> None:
    original = await opened.identity.ensure()
    copy = await opened.identity.renew()
    assert copy.mark != original.mark
    assert (copy.copy_of, copy.earlier) == (original.mark, None)
    assert await opened.identity.ensure() == copy
