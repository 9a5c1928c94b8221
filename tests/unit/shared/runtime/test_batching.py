"""Concurrent calls share a batch, and each caller gets its own answer."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.batching import Batcher
from tests.support import waiting


class Gated:
    """Work that doubles its items once `gate` is open, and records its batches."""

    def __init__(self, *, is_open: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.under_way = self.most_under_way = 0
        if is_open:
            self.gate.set()

    async def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(items))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        return [ValueError(f"{item} is negative") if item < 0 else item * 2 for item in items]


def asking(batcher: Batcher[int, int], items: Sequence[int]) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(batcher.ask(item), name=f"ask-{item}") for item in items]


async def test_requests_during_a_batch_go_into_one_more() -> None:
    work = Gated()
    batcher = Batcher(work, name="test")
    first = asking(batcher, [1])
    await waiting.until(lambda: work.batches == [[1]], "the first batch is under way")
    others = asking(batcher, range(2, 50))
    await waiting.until(lambda: len(batcher._waiting) == 48, "all others wait")
    work.gate.set()
    assert await asyncio.gather(*first, *others) == [item * 2 for item in range(1, 50)]
    assert work.batches == [[1], list(range(2, 50))]


@given(
    st.lists(st.integers(min_value=0), min_size=1, max_size=40),
    st.integers(min_value=1, max_value=7),
    st.integers(min_value=1, max_value=3),
)
def test_answers_belong_to_their_questions(items: list[int], limit: int, parallel: int) -> None:
    async def run() -> None:
        work = Gated(is_open=True)
        batcher = Batcher(work, name="test", limit=limit, parallel=parallel)
        assert await asyncio.gather(*asking(batcher, items)) == [item * 2 for item in items]
        assert sorted(itertools.chain(*work.batches)) == sorted(items)
        assert max(len(batch) for batch in work.batches) <= limit
        assert work.most_under_way <= parallel
        await batcher.drain()

    asyncio.run(run())


async def test_no_more_batches_run_at_a_time_than_allowed() -> None:
    work = Gated()
    batcher = Batcher(work, name="test", limit=1, parallel=3)
    asked = asking(batcher, range(5))
    await waiting.until(lambda: work.under_way == 3, "three batches are under way")
    work.gate.set()
    await asyncio.gather(*asked)
    assert work.most_under_way == 3


async def test_an_exception_for_one_question_reaches_its_caller_alone() -> None:
    batcher = Batcher(Gated(is_open=True), name="test")
    good, bad, better = await asyncio.gather(*asking(batcher, [1, -1, 2]), return_exceptions=True)
    assert (good, better) == (2, 4)
    assert isinstance(bad, ValueError)


async def test_an_exception_of_the_work_reaches_every_caller_of_the_batch_and_the_next_batch_works() -> None:
    failing = True

    async def work(items: Sequence[int]) -> list[int | Exception]:
        if failing:
            raise OSError("gone")
        return list(items)

    batcher = Batcher(work, name="test")
    results = await asyncio.gather(*asking(batcher, [1, 2, 3]), return_exceptions=True)
    assert [type(result) for result in results] == [OSError] * 3
    failing = False
    assert await batcher.ask(4) == 4


async def test_a_caller_that_goes_away_takes_no_other_with_it() -> None:
    work = Gated()
    batcher = Batcher(work, name="test")
    leaving, staying = asking(batcher, [1, 2])
    await waiting.until(lambda: work.batches == [[1, 2]], "both are in a batch")
    leaving.cancel()
    work.gate.set()
    assert await staying == 4
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await batcher.drain()


async def test_a_batch_that_is_cancelled_leaves_no_caller_waiting() -> None:
    work = Gated()
    batcher = Batcher(work, name="test")
    asked = asking(batcher, [1, 2])
    await waiting.until(lambda: work.under_way == 1, "the batch is under way")
    for running in batcher._running:
        running.cancel()
    results = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)
    assert [type(result) for result in results] == [asyncio.CancelledError] * 2


async def test_no_answer_comes_from_a_batch_that_began_before_the_question() -> None:
    state = {"value": "old"}
    read, answer = asyncio.Event(), asyncio.Event()

    async def work(items: Sequence[str]) -> list[str | Exception]:
        seen = state["value"]
        read.set()
        await answer.wait()
        return [seen for _ in items]

    batcher = Batcher(work, name="test")
    early = asyncio.create_task(batcher.ask("same question"))
    await read.wait()
    state["value"] = "new"
    late = asyncio.create_task(batcher.ask("same question"))
    await waiting.until(lambda: len(batcher._waiting) == 1, "the second question waits")
    answer.set()
    assert (await early, await late) == ("old", "new")


async def test_draining_waits_for_every_request() -> None:
    work = Gated()
    batcher = Batcher(work, name="test", limit=1)
    asked = asking(batcher, [1, 2, 3])
    await waiting.until(lambda: work.under_way == 1, "the first batch is under way")
    draining = asyncio.create_task(batcher.drain())
    work.gate.set()
    await asyncio.wait_for(draining, 5)
    assert all(one.done() for one in asked)
    await asyncio.gather(*asked)


async def test_too_few_answers_leave_no_caller_waiting() -> None:
    async def too_little(items: Sequence[int]) -> list[int | Exception]:
        return [0] * (len(items) - 1)

    batcher = Batcher(too_little, name="test")
    answers = await asyncio.wait_for(asyncio.gather(*asking(batcher, [1, 2, 3]), return_exceptions=True), 5)
    assert all(isinstance(answer, RuntimeError) for answer in answers)
