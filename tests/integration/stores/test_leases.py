"""Leases on a real MongoDB: one holder at a time, and an epoch for each term."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from shared import clock
from shared.store.stores import Stores
from shared.store.system.leases import MARGIN, LeaseStore
from tests.support import waiting

pytestmark = pytest.mark.stores


async def test_a_lease_has_one_holder(opened: Stores) -> None:
    lease = await opened.leases.acquire("node:n1", "a", seconds=60)
    assert lease is not None
    assert (lease.holder, lease.epoch) == ("a", 1)
    assert await opened.leases.acquire("node:n1", "b", seconds=60) is None
    assert await opened.leases.acquire("node:n2", "b", seconds=60) is not None


async def test_of_many_concurrent_requests_one_gets_the_lease(opened: Stores) -> None:
    for name in ("new", "released"):
        if name == "released":
            held = await opened.leases.acquire(name, "before", seconds=60)
            assert held is not None
            await opened.leases.release(held)
        asked = [opened.leases.acquire(name, f"holder{number}", seconds=60) for number in range(10)]
        taken = [lease for lease in await asyncio.gather(*asked) if lease is not None]
        assert len(taken) == 1


async def test_renewing_keeps_the_epoch_and_moves_the_end(opened: Stores) -> None:
    first = await opened.leases.acquire("x", "a", seconds=10)
    second = await opened.leases.acquire("x", "a", seconds=20)
    assert first is not None
    assert second is not None
    assert second.epoch == first.epoch
    assert second.until > first.until


async def test_a_released_lease_is_free_at_once_and_has_a_new_epoch(opened: Stores) -> None:
    first = await opened.leases.acquire("x", "a", seconds=60)
    assert first is not None
    await opened.leases.release(first)
    second = await opened.leases.acquire("x", "b", seconds=60)
    assert second is not None
    assert second.epoch == first.epoch + 1


async def test_releasing_a_lease_that_another_holder_took_changes_nothing(opened: Stores) -> None:
    first = await opened.leases.acquire("x", "a", seconds=60)
    assert first is not None
    await opened.leases.release(first)
    assert await opened.leases.acquire("x", "b", seconds=60)
    await opened.leases.release(first)
    assert await opened.leases.acquire("x", "c", seconds=60) is None


async def test_an_expired_lease_goes_to_the_next_request(opened: Stores) -> None:
    first = await opened.leases.acquire("x", "a", seconds=0.3)
    assert first is not None

    async def taken() -> bool:
        lease = await opened.leases.acquire("x", "b", seconds=60)
        return lease is not None and lease.epoch == first.epoch + 1

    assert not await taken()
    await waiting.until(taken, "the lease has run out", timeout=5)
    assert await opened.leases.acquire("x", "a", seconds=60) is None


async def test_a_holder_stops_trusting_its_lease_before_the_server_gives_it_away(opened: Stores) -> None:
    asked_at = clock.monotonic()
    lease = await opened.leases.acquire("x", "a", seconds=10)
    assert lease is not None
    assert asked_at + 10 * (1 - MARGIN) <= lease.until <= clock.monotonic() + 10 * (1 - MARGIN)
    assert lease.until < asked_at + 10


async def test_a_slow_answer_does_not_make_the_lease_longer(opened: Stores) -> None:
    times = itertools.chain([100.0], itertools.repeat(107.0))  # the request, then the answer seven seconds later
    store = LeaseStore(opened.database, lambda: next(times))
    lease = await store.acquire("x", "a", seconds=10)
    assert lease is not None
    assert lease.until == pytest.approx(108.0)


async def test_two_competitors_never_hold_it_together(opened: Stores) -> None:
    """Each holds on for a while, then releases it or lets it expire; no two terms overlap, and epochs grow by one."""
    seconds, terms = 0.1, []

    async def compete(holder: str, give_back: bool) -> None:
        while len(terms) < 12:
            lease = await opened.leases.acquire("x", holder, seconds=seconds)
            if lease is None:
                await asyncio.sleep(0.005)
                continue
            began = clock.monotonic()
            await asyncio.sleep(seconds / 3)
            if clock.monotonic() < lease.until:  # everything up to here is done as the holder
                terms.append((began, clock.monotonic(), holder, lease.epoch))
            if give_back:
                await opened.leases.release(lease)
            else:
                await asyncio.sleep(seconds * 1.2)

    await asyncio.gather(compete("polite", True), compete("silent", False))
    ordered = sorted(terms)
    for earlier, later in itertools.pairwise(ordered):
        if earlier[2] != later[2]:
            assert earlier[1] <= later[0], f"{earlier} and {later} overlap"
            assert earlier[3] < later[3]
    assert {term[2] for term in terms} == {"polite", "silent"}
