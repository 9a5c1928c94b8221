"""The event stream of one engine, reconnected whenever it ends, breaks or falls silent."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiodocker
import orjson
import structlog

from shared import clock, errors
from shared.executors import types
from shared.executors.docker import client, container_ids, observe, skew

log = structlog.get_logger(__name__)

SILENCE = 30.0  #: seconds without an event after which to reconnect: a half-open connection looks the same
BACKOFF = (0.2, 5.0)  #: seconds before the first retry, and at most
HEALTHY = 5.0  #: seconds a connection must have lasted for the back-off to start over


async def watch(
    engine: client.Engine,
    *,
    owner: types.Owner,
    root: str,
    seen: container_ids.Known,
    skew: skew.Skew,
    silence: float = SILENCE,
    jitter: Callable[[], float] = random.random,
) -> AsyncIterator[types.Event]:
    """
    Yield the events of the owner's containers, whose tasks' directories lie in `root`. A `RESYNC` comes with each connection:
    the engine remembers only 256 events and drops those that a listener is too slow for, so earlier changes have to be listed.
    Containers are added to `seen`, times are on our clock by `skew`. The stream ends when the engine is closed.
    """
    failures = 0
    since: int | None = None  # timeNano of the last event seen
    while not engine.is_closed:
        connected_at, quiet, connected = clock.monotonic(), False, False
        try:
            async with engine.stream(
                "GET", "events", params=_parameters(owner, since), total=None, silence=silence
            ) as messages:
                connected = True
                yield types.Event(engine.name, types.EventKind.RESYNC)
                async for message in messages:
                    since = message.get("timeNano", since)
                    event = observe.event(
                        message, node=engine.name, owner=owner, root=root, seen=seen, ahead=skew.ahead
                    )
                    if event is not None:
                        _note(event, observe.identifier(message), seen)
                        yield event
            reason = "the engine ended the stream"
        except errors.NodeUnavailable as error:
            reason = str(error)
            quiet = connected and isinstance(error.__cause__, TimeoutError)
        except aiodocker.DockerError as error:
            reason = client.words(error.message)
        lasted = clock.monotonic() - connected_at
        failures = 0 if lasted >= HEALTHY else failures + 1
        if quiet:  # nothing happened for a while: that is no failure
            log.debug("events.quiet", node=engine.name, lasted=round(lasted, 1))
        else:
            log.info("events.reconnect", node=engine.name, reason=reason, lasted=round(lasted, 1), failures=failures)
        # Randomized: many watchers see the same engine disappear at the same moment.
        await asyncio.sleep(min(BACKOFF[1], BACKOFF[0] * 2 ** min(failures, 10)) * (0.5 + jitter() / 2))


def _note(event: types.Event, identifier: str, seen: container_ids.Known) -> None:
    assert event.handle is not None
    if event.kind is types.EventKind.REMOVED:
        seen.take(event.handle)
    else:
        seen.note(event.handle, identifier)


def _parameters(owner: types.Owner, since: int | None) -> dict[str, str]:
    filters: dict[str, Any] = {
        "type": ["container"],
        "event": list(observe.ACTIONS),
        "label": [observe.label_of(owner)],
    }
    parameters = {"filters": orjson.dumps(filters).decode()}
    if since is not None:
        parameters["since"] = f"{since // 10**9}.{since % 10**9:09d}"
    return parameters
