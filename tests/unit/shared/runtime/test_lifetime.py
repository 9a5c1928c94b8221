"""A service's loops end together, in bounded time, and no hint is lost between two wakeups."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
import structlog

from shared import errors
from shared.observe import loop_failures, metrics
from shared.runtime import lifetime
from tests.support import waiting


async def until_stop(stop: asyncio.Event) -> None:
    await stop.wait()


async def deaf(stop: asyncio.Event) -> None:
    await asyncio.Event().wait()


# --- run_loops ------------------------------------------------------------------------


async def test_loops_finish_their_work_on_stop() -> None:
    stop, finished = asyncio.Event(), []

    async def careful(stop: asyncio.Event) -> None:
        await stop.wait()
        await asyncio.sleep(0.05)
        finished.append("written")

    running = asyncio.create_task(lifetime.run_loops({"careful": careful, "other": until_stop}, stop=stop))
    await asyncio.sleep(0)
    stop.set()
    await asyncio.wait_for(running, 5)
    assert finished == ["written"]


async def test_a_loop_that_ignores_stop_is_cancelled_after_the_grace() -> None:
    stop, cancelled = asyncio.Event(), []

    async def loop(stop: asyncio.Event) -> None:
        try:
            await deaf(stop)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    stop.set()
    began = time.monotonic()
    await lifetime.run_loops({"deaf": loop}, stop=stop, grace=0.1)
    assert cancelled == [True]
    assert 0.1 <= time.monotonic() - began < 2


async def test_a_loop_that_swallows_its_cancellation_does_not_block_the_service() -> None:
    stop, free = asyncio.Event(), asyncio.Event()

    async def stubborn(stop: asyncio.Event) -> None:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    stop.set()
    began = time.monotonic()
    await lifetime.run_loops({"stubborn": stubborn}, stop=stop, grace=0.05, cancel_timeout=0.1)
    assert time.monotonic() - began < 2
    free.set()
    await waiting.until(lambda: len(asyncio.all_tasks()) == 1, "the stubborn loop has gone")


async def test_a_loop_that_ends_by_itself_ends_the_service() -> None:
    stop = asyncio.Event()

    async def brief(stop: asyncio.Event) -> None:
        return

    await asyncio.wait_for(lifetime.run_loops({"brief": brief, "other": until_stop}, stop=stop), 5)
    assert stop.is_set()


async def test_errors_of_the_loops_are_raised_together() -> None:
    async def breaks_first(stop: asyncio.Event) -> None:
        raise errors.ConfigurationError("first")

    async def breaks_while_stopping(stop: asyncio.Event) -> None:
        await stop.wait()
        raise KeyError("second")

    with pytest.raises(BaseExceptionGroup) as caught:
        await lifetime.run_loops(
            {"first": breaks_first, "second": breaks_while_stopping, "third": until_stop}, stop=asyncio.Event()
        )
    assert {type(error) for error in caught.value.exceptions} == {errors.ConfigurationError, KeyError}


@pytest.fixture
def suffered(monkeypatch: pytest.MonkeyPatch) -> Iterator[loop_failures.LoopFailures]:
    """The failures of this test's loops, which restart soon."""
    monkeypatch.setattr(loop_failures, "FIRST_PAUSE", 0.01)
    made = loop_failures.LoopFailures()
    token = loop_failures.current.set(made)
    yield made
    loop_failures.current.reset(token)


async def test_a_failed_loop_is_restarted_and_the_others_continue(suffered: loop_failures.LoopFailures) -> None:
    stop, began, rounds = asyncio.Event(), 0, 0

    async def breaks_thrice(stop: asyncio.Event) -> None:
        nonlocal began
        began += 1
        if began <= 3:
            raise TypeError("nobody thought of that")
        await stop.wait()

    async def other(stop: asyncio.Event) -> None:
        nonlocal rounds
        async for _ in lifetime.every(stop, 0.01):
            rounds += 1

    before = metrics.LOOPS_BROKEN.labels("odd")._value.get()
    with structlog.testing.capture_logs() as events:
        running = asyncio.create_task(lifetime.run_loops({"odd-1": breaks_thrice, "other": other}, stop=stop))
        await waiting.until(lambda: began == 4 and rounds > 3, "the loop has begun for the fourth time")
        with pytest.raises(errors.LoopBroken, match="odd-1: TypeError: nobody thought of that"):
            await suffered.check()
        assert not running.done()
        stop.set()
        await asyncio.wait_for(running, 5)
    told = [event for event in events if event["event"] == "service.loop_failed" and event["log_level"] == "error"]
    assert len(told) == 1
    assert metrics.LOOPS_BROKEN.labels("odd")._value.get() == before + 3


async def test_a_loop_without_failures_for_a_while_counts_as_healthy(
    suffered: loop_failures.LoopFailures, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert suffered.note("odd", ValueError()) == suffered.note(
        "odd", KeyError()
    )  # another failure counts as a first one
    monkeypatch.setattr(loop_failures, "WELL_AFTER", -1.0)
    await suffered.check()


def test_a_loop_that_keeps_failing_restarts_less_and_less_often() -> None:
    made = loop_failures.LoopFailures()
    pauses = [made.note("odd", ValueError("x")) for _ in range(20)]
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert max(pauses) == pauses[-1] == loop_failures.LONGEST_PAUSE


async def test_a_service_ends_when_its_server_fails() -> None:
    async def http(stop: asyncio.Event) -> None:
        raise OSError("gone")

    with pytest.raises(BaseExceptionGroup):
        await asyncio.wait_for(lifetime.run_loops({"http": http, "other": until_stop}, stop=asyncio.Event()), 5)


async def test_a_service_that_is_cancelled_stops_its_loops_too() -> None:
    stop, ended = asyncio.Event(), []

    async def loop(stop: asyncio.Event) -> None:
        await stop.wait()
        ended.append(True)

    running = asyncio.create_task(lifetime.run_loops({"loop": loop}, stop=stop))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended == [True]


# --- until_done, every, pause -----------------------------------------------------------


async def test_work_is_retried_until_its_dependency_answers() -> None:
    tries = []

    async def work() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise errors.StoreUnavailable("not yet")

    await lifetime.until_done(asyncio.Event(), work, retry=0.001)
    assert len(tries) == 3


async def test_work_that_fails_for_another_reason_is_not_retried() -> None:
    async def work() -> None:
        raise errors.ConfigurationError("never")

    with pytest.raises(errors.ConfigurationError):
        await lifetime.until_done(asyncio.Event(), work, retry=0.001)


async def test_a_stop_ends_the_tries() -> None:
    stop = asyncio.Event()

    async def work() -> None:
        stop.set()
        raise errors.StoreUnavailable("gone")

    await asyncio.wait_for(lifetime.until_done(stop, work, retry=60), 5)


async def test_every_begins_at_once_and_ends_with_the_stop() -> None:
    stop, rounds = asyncio.Event(), 0
    async for _ in lifetime.every(stop, 0.001):
        rounds += 1
        if rounds == 3:
            stop.set()
    assert rounds == 3


async def test_a_pause_ends_with_the_stop() -> None:
    stop = asyncio.Event()
    assert await lifetime.pause(stop, 0.001)
    stop.set()
    assert not await asyncio.wait_for(lifetime.pause(stop, 60), 5)


async def test_waiting_for_either_leaves_nothing_behind() -> None:
    first, second = asyncio.Event(), asyncio.Event()
    await lifetime.wait_either(first, second, timeout=0.001)
    second.set()
    await asyncio.wait_for(lifetime.wait_either(first, second), 5)
    assert len(asyncio.all_tasks()) == 1


# --- Wakeup -----------------------------------------------------------------------------


async def test_many_hints_cause_one_wakeup() -> None:
    wakeup, stop, looks = lifetime.Wakeup(), asyncio.Event(), []

    async def loop() -> None:
        while await wakeup.wait(stop, poll=60, gather=0.05):
            looks.append(1)

    running = asyncio.create_task(loop())
    for _ in range(100):
        wakeup.set()
        await asyncio.sleep(0)
    await waiting.until(lambda: looks, "it was looked once")
    stop.set()
    await asyncio.wait_for(running, 5)
    assert looks == [1]


async def test_a_hint_after_a_wakeup_causes_another() -> None:
    wakeup, stop = lifetime.Wakeup(), asyncio.Event()
    wakeup.set()
    assert await wakeup.wait(stop, poll=60)
    wakeup.set()  # while the caller works
    assert await asyncio.wait_for(wakeup.wait(stop, poll=60), 5)


async def test_without_a_hint_the_poll_wakes_up() -> None:
    assert await asyncio.wait_for(lifetime.Wakeup().wait(asyncio.Event(), poll=0.01), 5)


async def test_the_first_hint_after_a_quiet_time_wakes_up_at_once() -> None:
    wakeup, stop = lifetime.Wakeup(), asyncio.Event()
    waits = asyncio.create_task(wakeup.wait(stop, poll=60, gather=0.2))
    await asyncio.sleep(0.25)
    began = time.monotonic()
    wakeup.set()
    assert await asyncio.wait_for(waits, 5)
    assert time.monotonic() - began < 0.15


async def test_a_hint_right_after_a_wakeup_gathers_others() -> None:
    wakeup = lifetime.Wakeup()
    wakeup.set()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wakeup.wait(asyncio.Event(), poll=60, gather=60), 0.05)


async def test_a_stop_ends_the_waiting_and_the_gathering() -> None:
    wakeup, stop = lifetime.Wakeup(), asyncio.Event()
    waits = asyncio.create_task(wakeup.wait(stop, poll=60, gather=60))
    wakeup.set()
    await asyncio.sleep(0.01)
    stop.set()
    assert not await asyncio.wait_for(waits, 5)
