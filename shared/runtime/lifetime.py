"""Run a service's loops until `stop`, then drain and cancel them within bounded times."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

import structlog
import uvloop

from shared import clock, errors
from shared.observe import loop_failures, pulse

log = structlog.get_logger(__name__)

Loop = Callable[[asyncio.Event], Coroutine[Any, Any, None]]

GRACE = 8.0  #: seconds that loops have to finish their work
VITAL = frozenset({"http"})  #: loops that end the service when they end; it is then restarted
CANCEL_TIMEOUT = 3.0  #: seconds that cancelled loops have to end


async def run_loops(
    loops: Mapping[str, Loop],
    *,
    stop: asyncio.Event,
    grace: float = GRACE,
    cancel_timeout: float = CANCEL_TIMEOUT,
) -> None:
    """
    Run `loops` until `stop` is set or one of them ends, then let the others finish for `grace` seconds and cancel the rest.

    A loop that fails unexpectedly is restarted, with growing pauses, while the others continue; loops in `VITAL` and
    configuration errors end the service. Raises `BaseExceptionGroup` with the errors.
    """
    if loop_failures.current.get() is None:
        loop_failures.current.set(loop_failures.LoopFailures())
    tasks = [
        asyncio.create_task(loop(stop) if name in VITAL else _kept(name, loop, stop), name=name)
        for name, loop in loops.items()
    ]
    stopped = asyncio.create_task(stop.wait(), name="stop")
    try:
        done, _ = await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stopped not in done:
            log.error("service.loop_ended", loops=[task.get_name() for task in done])
    finally:
        stop.set()
        _, unfinished = await asyncio.wait(tasks, timeout=grace)
        for task in unfinished:
            log.warning("service.loop_cancelled", loop=task.get_name(), grace=grace)
            task.cancel()
        if unfinished:
            # Bounded: a library can swallow a cancellation and leave its task asleep, and waiting for that task would hang
            # the shutdown of the whole service.
            await asyncio.wait(unfinished, timeout=cancel_timeout)
        await stopped
    failures = [error for task in tasks if task.done() and not task.cancelled() and (error := task.exception())]
    if failures:
        raise BaseExceptionGroup("service loops failed", failures)


async def _kept(name: str, loop: Loop, stop: asyncio.Event) -> None:
    while True:
        try:
            await loop(stop)
        except errors.ConfigurationError:
            raise
        except Exception as error:
            if stop.is_set():
                raise
            known = loop_failures.current.get()
            if not await pause(stop, known.note(name, error) if known else loop_failures.FIRST_PAUSE):
                return
        else:
            return


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a service's main coroutine on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_measured(main))


async def _measured(main: Coroutine[Any, Any, None]) -> None:
    watching = asyncio.create_task(pulse.watch(), name="pulse")
    try:
        await main
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def until_done(stop: asyncio.Event, work: Callable[[], Awaitable[None]], *, retry: float = 1.0) -> None:
    """Run `work` once, retrying every `retry` seconds while a part it needs does not answer, until `stop`."""
    async for _ in every(stop, retry):
        try:
            await work()
        except errors.Unavailable as error:
            log.warning("service.waits", error=str(error))
        else:
            return


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on SIGINT and SIGTERM."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)


async def pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait `seconds`, or less if `stop` is set meanwhile. Return False if it is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return not stop.is_set()


async def every(stop: asyncio.Event, seconds: float) -> AsyncIterator[None]:
    """Yield at once and then every `seconds` until `stop` is set; slow rounds are not caught up."""
    while not stop.is_set():
        yield
        await pause(stop, seconds)


async def wait_either(first: asyncio.Event, second: asyncio.Event, *, timeout: float | None = None) -> None:
    """Wait until one of two events is set, at most `timeout` seconds."""
    waiters = {asyncio.create_task(event.wait(), name="wait-either") for event in (first, second)}
    try:
        await asyncio.wait(waiters, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.wait(waiters)


class Wakeup:
    """
    Combines hints into one wakeup: `wait` returns once for all hints since its last return. The first hint after a quiet
    time returns at once; hints right after a return gather for a moment.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, stop: asyncio.Event, *, poll: float, gather: float = 0.0) -> bool:
        """
        Wait for a hint, at most `poll` seconds, and at least `gather` seconds since the call if there is one. Return False
        when `stop` is set.
        """
        called_at = clock.monotonic()
        await wait_either(self._event, stop, timeout=poll)
        rest = called_at + gather - clock.monotonic()
        if self._event.is_set() and rest > 0 and not stop.is_set():
            await pause(stop, rest)
        self._event.clear()
        return not stop.is_set()
