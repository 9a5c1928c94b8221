"""The event stream of one engine: connected again whenever it ends, breaks or falls silent."""

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

SILENCE = (
    30.0  #: seconds without an event after which the connection is made anew: a half-open one looks just like that
)
BACKOFF = (0.2, 5.0)  #: seconds before the first try again, and at most
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
    Events of the owner's containers, whose tasks' directories lie in `root`. A `RESYNC` comes with each connection: the engine
    remembers 256 events only, and drops those that a listener is too slow for, so what happened before is to be listed.
    Containers go into `seen`, times are ours by `skew`. It ends when the engine is closed.
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
        if quiet:  # nothing happened there for a while: nobody has to do anything about it
            log.debug("events.quiet", node=engine.name, lasted=round(lasted, 1))
        else:
            log.info("events.reconnect", node=engine.name, reason=reason, lasted=round(lasted, 1), failures=failures)
        # Spread out: many watchers see the same engine go away at the same moment.
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
