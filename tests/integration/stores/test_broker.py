"""Hints through a real Redis: their content, and that their loss costs only time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from services.api.access.login_limit import LoginAttempts
from services.api.hints import Hints
from shared import errors
from shared.broker import broker, keys
from shared.broker.broker import Broker
from shared.broker.keys import GOOD_TTL, Failures
from shared.settings import Settings
from tests.support import waiting
from tests.support.servers.stores import StoreServer

pytestmark = pytest.mark.stores


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time until a listener notices the stop."""
    monkeypatch.setattr(broker, "LISTEN", 0.05)


BOUND = 4.0  #: seconds until a caller learns that Redis does not answer: three tries of a second


@asynccontextmanager
async def listening(listen: Callable[[asyncio.Event], AsyncIterator[str]]) -> AsyncIterator[list[str]]:
    """Collect hints, from the first `resync` on."""
    stop, heard = asyncio.Event(), []

    async def collect() -> None:
        async for hint in listen(stop):
            heard.append(hint)

    listener = asyncio.create_task(collect(), name="listener")
    try:
        await waiting.until(lambda: heard, "it is subscribed")
        yield heard
    finally:
        stop.set()
        await asyncio.wait_for(listener, 10)


async def test_the_queue_gives_back_what_was_put_in_oldest_first_and_once(hints: Broker) -> None:
    await hints.enqueue([3, 1])
    await hints.enqueue([2, 3])
    assert await hints.dequeue(3) == [3, 1, 2]
    assert await hints.dequeue(3) == [3]
    assert await hints.dequeue(3) == []


async def test_junk_in_the_queue_is_dropped_and_ids_are_kept(hints: Broker) -> None:
    queue = hints._keys.queue
    junk = ["x", "", "-1", "1.5", " 1", "1 ", "\u00b2", "\u0662", "9" * 5000, "{}", b"\x00"]
    await hints._redis.rpush(queue, "1", *junk, "2")
    assert await hints.dequeue(100) == [1, 2]


async def test_an_unread_queue_is_bounded(hints: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "QUEUE_LENGTH", 10)
    await hints.enqueue(list(range(25)))
    assert await hints.dequeue(100) == list(range(15, 25))


async def test_two_installations_in_one_redis_do_not_hear_each_other(hints: Broker, settings: Settings) -> None:
    async with broker.connect(settings.model_copy(update={"redis_prefix": "another"})) as other:
        async with listening(hints.scheduler_hints) as heard:
            await other.enqueue([1])
            await other.tell_scheduler_ended([(1, 1)])
            await hints.tell_scheduler_ended([(2, 1), (3, 4)])
            await waiting.until(lambda: len(heard) > 1, "its own hint is heard")
            assert heard == ["resync", "ended 2:1 3:4"]
            assert broker.parse_ended(heard[1]) == [(2, 1), (3, 4)]
        assert await hints.dequeue(9) == []
        assert await other.dequeue(9) == [1]


async def test_a_listener_is_woken(hints: Broker) -> None:
    async with listening(hints.scheduler_hints) as scheduler, listening(hints.watcher_hints) as watcher:
        await hints.enqueue([1])
        await hints.tell_watcher_asked()
        await waiting.until(lambda: len(scheduler) > 1 and len(watcher) > 1, "both are woken")
        assert (scheduler[1], watcher[1]) == ("queue", "asked")


async def test_a_listener_subscribes_again_when_redis_is_back(hints: Broker, redis_server: StoreServer) -> None:
    async with listening(hints.watcher_hints) as heard:
        redis_server.kill()
        redis_server.start()

        async def woken() -> bool:
            await hints.tell_watcher_asked()
            return "asked" in heard

        await waiting.until(woken, "hints are heard again")
        assert heard.count(broker.RESYNC) >= 2


async def test_a_flush_takes_hints_and_nothing_else(hints: Broker) -> None:
    async with listening(hints.scheduler_hints) as heard:
        await hints.enqueue([1])
        await hints._redis.flushall()
        assert await hints.dequeue(9) == []
        await hints.enqueue([2])
        await waiting.until(lambda: heard.count("queue") == 2, "what comes after it is heard")
        assert await hints.dequeue(9) == [2]


@pytest.mark.parametrize("how", ["stop", "freeze"])
async def test_an_unreachable_redis_is_reported_in_time_and_used_again_afterwards(
    hints: Broker, redis_server: StoreServer, how: str
) -> None:
    await hints.ping()
    getattr(redis_server, how)()
    calls: list[Callable[[], object]] = [hints.ping, lambda: hints.enqueue([1]), lambda: hints.dequeue(1)]
    for call in calls if how == "stop" else calls[:1]:  # a hang takes the whole time
        began = time.monotonic()
        with pytest.raises(errors.BrokerUnavailable, match="Redis does not answer"):
            await call()  # type: ignore[misc]
        assert time.monotonic() - began < BOUND
    redis_server.thaw()
    redis_server.start()
    await hints.ping()
    await hints.enqueue([7])
    assert 7 in await hints.dequeue(9)


async def test_unsendable_hints_block_nobody_and_later_ones_are_sent(hints: Broker, redis_server: StoreServer) -> None:
    sender, stop = Hints(hints, poll=0.1), asyncio.Event()
    running = asyncio.create_task(sender.run(stop))
    redis_server.stop()
    sender.pending([1])
    sender.intent_written()
    redis_server.start()

    async def sent() -> bool:
        sender.pending([2])
        return 2 in await hints.dequeue(99)

    await waiting.until(sent, "hints are sent again")
    stop.set()
    await asyncio.wait_for(running, 10)


async def test_hints_given_just_before_the_end_are_still_sent(hints: Broker) -> None:
    sender, stop = Hints(hints, poll=60), asyncio.Event()
    stop.set()
    sender.pending([5])
    await asyncio.wait_for(sender.run(stop), 10)
    assert await hints.dequeue(9) == [5]


# --- failed logins ----------------------------------------------------------------------------------

PAIR = Failures("a", "1.1.1.1", 1)


async def test_failures_are_counted_for_each_user_origin_and_window(hints: Broker) -> None:
    assert [await hints.count_failures([(PAIR, 60)]) for _ in range(3)] == [{PAIR: 1}, {PAIR: 2}, {PAIR: 3}]
    others = [
        Failures("b", "1.1.1.1", 1),
        Failures("a", "2.2.2.2", 1),
        Failures("a", "1.1.1.1", 2),
        Failures(None, "1.1.1.1", 1),
        Failures("a", None, 1),
        # No name can be chosen so that it counts as another's.
        Failures("a:1.1.1.1", "", 1),
        Failures("", "a:1.1.1.1", 1),
        Failures("a*", "\r\nFLUSHALL\r\n", 1),
    ]
    assert set((await hints.failures(others)).values()) == {0}
    for other in others:
        assert await hints.count_failures([(other, 60)]) == {other: 1}
    assert await hints.failures([PAIR, *others]) == {PAIR: 3, **dict.fromkeys(others, 1)}


async def test_counts_and_known_origins_expire(hints: Broker) -> None:
    await hints.count_failures([(PAIR, 60)])
    (key,) = await hints._redis.keys(f"{hints._keys.prefix}:*")
    assert 0 < await hints._redis.ttl(key) <= 120
    await hints.note_good("a", "1.1.1.1")
    assert await hints.was_good("a", "1.1.1.1")
    assert not await hints.was_good("a", "1.1.1.2")
    assert 0 < await hints._redis.ttl(hints._keys.good("a", "1.1.1.1")) <= GOOD_TTL


async def test_malformed_counts_count_as_none(hints: Broker) -> None:
    await hints._redis.set(hints._keys.failures(PAIR), "many")
    assert await hints.failures([PAIR]) == {PAIR: 0}


@pytest.mark.parametrize("how", ["stop", "flush"])
async def test_a_loss_of_redis_lets_nobody_in(hints: Broker, redis_server: StoreServer, how: str) -> None:
    attempts = LoginAttempts(hints, Settings(authenticate_limit=3))
    for _ in range(2):
        await attempts.failed("a", "1.1.1.1", now=60.0)
    if how == "stop":
        redis_server.stop()
    else:
        await hints._redis.flushall()
    await attempts.check_pair("a", "1.1.1.1", now=61.0)
    await attempts.failed("a", "1.1.1.1", now=61.0)
    with pytest.raises(errors.TooManyRequests) as refused:
        await attempts.check_pair("a", "1.1.1.1", now=70.0)
    assert refused.value.retry_after == 50.0
    await attempts.check_pair("b", "1.1.1.1", now=70.0)
    await attempts.check_pair("a", "1.1.1.1", now=120.0)


async def test_failures_at_all_gateways_are_one_count(hints: Broker) -> None:
    here, there = (
        LoginAttempts(hints, Settings(authenticate_limit=3)),
        LoginAttempts(hints, Settings(authenticate_limit=3)),
    )
    for gateway in (here, there, here):
        await gateway.failed("a", "1.1.1.1", now=60.0)
    with pytest.raises(errors.TooManyRequests):
        await there.check_pair("a", "1.1.1.1", now=60.0)
