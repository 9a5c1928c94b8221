"""Wait for a condition, for a bounded time, with a description for the failure."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

TIMEOUT = 20.0
INTERVAL = 0.02


async def until(
    condition: Callable[[], T | Awaitable[T]],
    description: str,
    *,
    timeout: float = TIMEOUT,
    interval: float = INTERVAL,
) -> T:
    """Return the condition's first true value. `condition` may be a coroutine function. Fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"after {timeout:g} s it is still not so that {description}"
        await asyncio.sleep(interval)


def until_blocking(
    condition: Callable[[], T],
    description: str,
    *,
    timeout: float = TIMEOUT,
    interval: float = INTERVAL,
) -> T:
    """Run `until` for tests without an event loop."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {timeout:g} s it is still not so that {description}"
        time.sleep(interval)
    return value
