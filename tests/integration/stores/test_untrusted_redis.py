"""Arbitrary bytes in any key or channel of Redis: services live, good values are found, and junk is counted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from redis import asyncio as redis

from shared.broker import broker, junk
from shared.broker.broker import Broker
from shared.lifecycle import TaskStatus
from shared.observe import metrics
from shared.settings import Settings
from tests.integration.conftest import Scene
from tests.support import samples
from tests.support.harness.gateway import Gateway

pytestmark = [pytest.mark.stores, pytest.mark.timeout(300)]

SAMPLE = {
    "timestamp": 1.5,
    "cpu_percent": 2,
    "memory": 3,
    "memory_limit": 4,
    "network_rx": 5,
    "network_tx": 6,
    "pids": 7,
}
NOT_UTF8 = b"\xff\xfe\x80"


@pytest.fixture
async def raw(settings: Settings) -> AsyncIterator[redis.Redis]:
    """A client that writes raw bytes."""
    client = redis.Redis(unix_socket_path=str(settings.redis_socket), protocol=2)
    yield client
    await client.aclose()


async def put(raw: redis.Redis, key: str, kind: str, content: bytes) -> None:
    """Store these bytes in a key, as one of Redis's types."""
    await raw.delete(key)
    if kind == "string":
        await raw.set(key, content)
    elif kind == "list":
        await raw.rpush(key, content, b"17")
    elif kind == "hash":
        await raw.hset(key, mapping={content: content, b"2020-01": content})
    elif kind == "set":
        await raw.sadd(key, content)
    elif kind == "sorted set":
        await raw.zadd(key, {content: 1})
    else:
        await raw.xadd(key, {b"f": content})


KINDS = st.sampled_from(["string", "list", "hash", "set", "sorted set", "stream"])
CONTENTS = st.binary(max_size=60) | st.sampled_from(
    [b"[]", b"[1]", b"{}", b"null", b"NaN", b'[{"_id": 1}]', b"1", b"-1", b"9" * 30, b"ended 1:1 x:y", NOT_UTF8]
)


@given(KINDS, CONTENTS)
@examples(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_arbitrary_bytes_in_any_key_are_skipped(
    hints: Broker, raw: redis.Redis, kind: str, content: bytes
) -> None:
    named = hints._keys
    await put(raw, named.queue, kind, content)
    assert all(type(number) is int for number in await hints.dequeue(100))
    await put(raw, named.queue, kind, content)
    await hints.enqueue([5])
    assert 5 in await hints.dequeue(100)
    await put(raw, named.samples(1), kind, content)
    assert await hints.samples(1) == []
    await put(raw, named.samples(1), kind, content)
    await hints.add_samples({1: SAMPLE})
    assert SAMPLE in await hints.samples(1)
    await put(raw, named.billing("user", "alice"), kind, content)
    assert await hints.billing("user", "alice", "2020-01") in (None, [])
    await put(raw, named.billing("user", "alice"), kind, content)
    await hints.remember_billing("user", "alice", "2020-02", [])
    assert await hints.billing("user", "alice", "2020-02") == []


async def test_junk_is_counted_by_place(hints: Broker, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(where: str) -> float:
        return float(metrics.REDIS_JUNK.labels(where)._value.get())

    monkeypatch.setattr(junk, "_next_report", {})
    before = {where: counted(where) for where in ("queue", "samples", "billing")}
    await raw.rpush(hints._keys.queue, NOT_UTF8, b"x", b"7")
    assert await hints.dequeue(10) == [7]
    await raw.rpush(hints._keys.samples(1), NOT_UTF8)
    assert await hints.samples(1) == []
    await raw.hset(hints._keys.billing("user", "a"), "2020-01", NOT_UTF8)
    assert await hints.billing("user", "a", "2020-01") is None
    assert {where: counted(where) - was for where, was in before.items()} == {"queue": 2, "samples": 1, "billing": 1}


@pytest.mark.parametrize("seed", range(2))
async def test_services_live_and_tasks_run_despite_junk_in_keys_and_channels(
    scene: Scene, raw: redis.Redis, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "LISTEN", 0.05)
    chance, named = random.Random(seed), scene.broker._keys
    said = [NOT_UTF8, b"", b"ended \xff:1", b"ended 1:" + b"9" * 400, b"queue\0", b"resync", chance.randbytes(1000)]
    async with scene.running():
        for number in range(1, 6):
            for channel in (named.scheduler, named.watcher):
                for words in said:
                    await raw.publish(channel, words)
            kind = chance.choice(["string", "list", "hash"])
            await put(raw, named.queue, kind, chance.choice(said) or b"x")
            await scene.add(number)
            await scene.until(TaskStatus.OVER, number)


async def test_malformed_samples_and_bills_cause_no_gateway_error(gateway: Gateway, raw: redis.Redis) -> None:
    alice = await gateway.add_user("alice")
    await gateway.add_task(1, TaskStatus.RUNNING, placement=samples.placement(), started_at=samples.NOW, attempt=1)
    named = gateway.context.broker._keys
    for content in (NOT_UTF8, b"{", b"[]", b"1", b'{"timestamp": "x"}', b"null"):
        await raw.rpush(named.samples(1), content)
        await raw.hset(named.billing("user", "alice"), "2020-01", content)
        answers: list[Any] = await asyncio.gather(
            gateway.ask("GET", "/task/1/monitor", alice), gateway.ask("GET", "/user/alice/billing/2020/1", alice)
        )
        assert [(answer.status_code, answer.json()) for answer in answers] == [(200, []), (200, [])]
