"""Hints between the services, samples, bills, and counts of failed logins in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import orjson
import structlog
from redis import asyncio as redis
from redis import exceptions as driver_errors

from shared.broker import connection, junk, keys
from shared.rules import known_faults
from shared.runtime import lifetime
from shared.settings import Settings

log = structlog.get_logger(__name__)

T = TypeVar("T")

MAINTENANCE = "maintenance"  #: hint to the scheduler
RESYNC = "resync"  #: made by the listener: earlier hints may be missing
_OTHER_KIND = ("WRONGTYPE", "not an integer")  #: texts of Redis errors about a key of another type
RECONNECT = 0.5  #: seconds between attempts to subscribe
LISTEN = 1.0  #: seconds without a message after which `stop` is checked


class Broker:
    """
    Messages between services through Redis. Every method raises `errors.BrokerUnavailable` if Redis does not answer; that
    costs only time, since a poll backs up every hint.
    """

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._redis = client
        self._keys = keys.Keys(prefix)

    @connection.translated
    async def ping(self) -> None:
        await self._redis.ping()

    @connection.translated
    async def faults(self) -> list[known_faults.Found]:
        """Return the known faults of the Redis server."""
        version = str((await self._redis.info("server"))["redis_version"])
        try:
            await self._redis.eval("return 1", 0)
        except driver_errors.ResponseError:
            return known_faults.of(known_faults.REDIS, version, closed=(known_faults.NO_SCRIPTS,))
        return known_faults.of(known_faults.REDIS, version)

    # --- the queue of pending tasks --------------------------------------------------

    @connection.translated
    async def enqueue(self, task_ids: Sequence[int]) -> None:
        """Tell the scheduler that these tasks are pending."""

        async def push() -> None:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.rpush(self._keys.queue, *task_ids)
            pipeline.ltrim(self._keys.queue, -keys.QUEUE_LENGTH, -1)
            pipeline.publish(self._keys.scheduler, "queue")
            await pipeline.execute()

        await self._healed("queue", [self._keys.queue], push)

    @connection.translated
    async def dequeue(self, count: int) -> list[int]:
        """Take up to `count` ids from the queue, dropping entries that are not numbers."""

        async def pop() -> Any:
            return await self._redis.lpop(self._keys.queue, count)

        popped = await self._healed("queue", [self._keys.queue], pop)
        items = popped if isinstance(popped, list) else []
        ids = [number for item in items if (number := junk.number(item)) is not None]
        if len(ids) < len(items):
            junk.note("queue", len(items) - len(ids))
        return ids

    # --- wakeups -------------------------------------------------------------------------

    @connection.translated
    async def tell_scheduler_ended(self, attempts: Sequence[tuple[int, int]]) -> None:
        """Hint that these (task, attempt) no longer hold resources."""
        text = " ".join(f"{task_id}:{attempt}" for task_id, attempt in attempts)
        await self._redis.publish(self._keys.scheduler, f"ended {text}")

    @connection.translated
    async def tell_scheduler_gone(self, task_ids: Sequence[int]) -> None:
        """Hint that these tasks are no longer pending and were not placed."""
        await self._redis.publish(self._keys.scheduler, f"gone {' '.join(map(str, task_ids))}")

    @connection.translated
    async def tell_scheduler_maintenance(self) -> None:
        """Hint that maintenance began or ended somewhere."""
        await self._redis.publish(self._keys.scheduler, MAINTENANCE)

    @connection.translated
    async def tell_watcher_asked(self) -> None:
        """Hint that an owner wrote an intent."""
        await self._redis.publish(self._keys.watcher, "asked")

    def scheduler_hints(self, stop: asyncio.Event) -> AsyncIterator[str]:
        """Yield hints to the scheduler until `stop`; see `keys.Keys.scheduler`."""
        return self._listen(self._keys.scheduler, stop)

    def watcher_hints(self, stop: asyncio.Event) -> AsyncIterator[str]:
        """Yield hints to the watcher until `stop`; see `keys.Keys.watcher`."""
        return self._listen(self._keys.watcher, stop)

    async def _listen(self, channel: str, stop: asyncio.Event) -> AsyncIterator[str]:
        """Yield messages until `stop`, subscribing again after every loss; `RESYNC` comes first and after each loss."""
        while not stop.is_set():
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(channel)
                    while not stop.is_set():
                        message = await subscription.get_message(timeout=LISTEN)
                        if message is None:
                            continue
                        # After a loss the client subscribes again by itself; this message is the only sign of it.
                        yield RESYNC if message["type"] == "subscribe" else str(message["data"])
            except (driver_errors.RedisError, OSError) as error:
                log.warning("broker.subscription_lost", channel=channel, error=type(error).__name__)
                await lifetime.pause(stop, RECONNECT)

    # --- samples of running tasks -------------------------------------------------------------

    @connection.translated
    async def add_samples(self, samples: Mapping[int, Mapping[str, float | int]]) -> None:
        """Store one sample for each of these tasks."""

        async def push() -> None:
            pipeline = self._redis.pipeline(transaction=False)
            for task_id, sample in samples.items():
                key = self._keys.samples(task_id)
                pipeline.lpush(key, orjson.dumps(sample))
                pipeline.ltrim(key, 0, keys.SAMPLES - 1)
                pipeline.expire(key, keys.SAMPLES_TTL)
            await pipeline.execute()

        await self._healed("samples", [self._keys.samples(task_id) for task_id in samples], push)

    @connection.translated
    async def samples(self, task_id: int) -> list[dict[str, float | int]]:
        """Return the last samples of a task, oldest first."""
        key = self._keys.samples(task_id)

        async def read() -> Any:
            return await self._redis.lrange(key, 0, -1)

        found = [junk.parsed(text) for text in reversed(await self._healed("samples", [key], read))]
        samples = [sample for sample in found if junk.is_sample(sample)]
        if len(samples) < len(found):
            junk.note("samples", len(found) - len(samples))
        return samples

    # --- bills of past months -----------------------------------------------------------------

    @connection.translated
    async def billing(self, subject: str, name: str, month: str) -> list[dict[str, Any]] | None:
        """Return the cached bill of a past month (`2026-10`), or None."""
        key = self._keys.billing(subject, name)

        async def read() -> Any:
            return await self._redis.hget(key, month)

        text = await self._healed("billing", [key], read)
        found: list[dict[str, Any]] | None = junk.parsed(text) if text else None
        if text and not junk.is_bill(found):
            junk.note("billing")
            return None
        return found

    @connection.translated
    async def remember_billing(self, subject: str, name: str, month: str, rows: Sequence[Mapping[str, Any]]) -> None:
        key = self._keys.billing(subject, name)

        async def write() -> None:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.hset(key, month, orjson.dumps(list(rows)).decode())
            pipeline.expire(key, keys.BILLING_TTL)
            await pipeline.execute()

        await self._healed("billing", [key], write)

    @connection.translated
    async def forget_billing(self, subject: str, name: str) -> None:
        """Remove the bills of a deleted user or project."""
        await self._redis.delete(self._keys.billing(subject, name))

    # --- failed logins ----------------------------------------------------------------------

    @connection.translated
    async def count_failures(self, of: Sequence[tuple[keys.Failures, int]]) -> dict[keys.Failures, int]:
        """Count one failed login in each of these windows, given with their seconds, and return the new counts."""

        async def count() -> list[Any]:
            pipeline = self._redis.pipeline(transaction=True)
            for failures, seconds in of:
                pipeline.incr(self._keys.failures(failures))
                pipeline.expire(self._keys.failures(failures), 2 * seconds)
            return list(await pipeline.execute())

        counts = (await self._healed("failures", [self._keys.failures(one) for one, _ in of], count))[::2]
        return {failures: int(count) for (failures, _), count in zip(of, counts, strict=True)}

    @connection.translated
    async def failures(self, of: Sequence[keys.Failures]) -> dict[keys.Failures, int]:
        """Return the number of failed logins in each of these windows. Malformed values count as none."""
        found = await self._redis.mget([self._keys.failures(one) for one in of])
        return {one: junk.number(text or 0) or 0 for one, text in zip(of, found, strict=True)}

    @connection.translated
    async def note_good(self, user: str, origin: str) -> None:
        """Record a successful login from an origin."""
        await self._redis.set(self._keys.good(user, origin), 1, ex=keys.GOOD_TTL)

    @connection.translated
    async def was_good(self, user: str, origin: str) -> bool:
        """Return whether the user has logged in from an origin before."""
        return bool(await self._redis.exists(self._keys.good(user, origin)))

    async def _healed(self, where: str, at: Sequence[str], call: Callable[[], Awaitable[T]]) -> T:
        """
        Return the result of `call`. A key that holds another type is removed first: no service wrote it, and it would make
        every later call fail.
        """
        try:
            return await call()
        except driver_errors.ResponseError as error:
            if not any(word in str(error) for word in _OTHER_KIND):
                raise
        junk.note(where)
        await self._redis.delete(*at)
        return await call()


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Broker]:
    """Open the broker of `settings`. The first call connects to the server."""
    async with connection.client(settings) as client:
        yield Broker(client, settings.redis_prefix)


def parse_ended(hint: str) -> list[tuple[int, int]]:
    """Return the (task, attempt) pairs of an `ended` hint; none for other or malformed hints."""
    words = hint.split(" ")
    if words[0] != "ended":
        return []
    pairs = []
    for word in words[1:]:
        task_id, _, attempt = word.partition(":")
        numbers = junk.number(task_id), junk.number(attempt)
        if numbers[0] is not None and numbers[1] is not None:
            pairs.append((numbers[0], numbers[1]))
    return pairs


def parse_gone(hint: str) -> list[int]:
    """Return the ids of a `gone` hint, without malformed ones; none for other hints."""
    words = hint.split(" ")
    numbers = map(junk.number, words[1:]) if words[0] == "gone" else ()
    return [number for number in numbers if number is not None]
