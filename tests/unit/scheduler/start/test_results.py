"""The queue of results between the starts and the cycle."""

from __future__ import annotations

import asyncio

from services.scheduler.start.results import PortsTaken, Released, Results, Undone
from shared.runtime import lifetime


async def test_results_are_drained_once_and_in_order() -> None:
    results = Results(lifetime.Wakeup())
    put = [PortsTaken("n1", (10_000,), 5.0), Undone(1), Released(1, 2)]
    for result in put:
        results.put(result)
    assert results.drain() == put
    assert results.drain() == []


async def test_a_release_wakes_the_cycle() -> None:
    wakeup = lifetime.Wakeup()
    results = Results(wakeup)
    results.put(Released(1, 1))
    assert await asyncio.wait_for(wakeup.wait(asyncio.Event(), poll=60.0), timeout=30.0)
