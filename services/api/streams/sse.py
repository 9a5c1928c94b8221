"""
Send events as a stream (Server-Sent Events, HTML Living Standard 9.2).

A stream has no end of its own: it is closed when its token becomes void or this process stops. The client then
reconnects with `Last-Event-ID`, the id of the last event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi.sse import format_sse_event
from starlette.responses import Response

from services.api.http import errors as answers
from services.api.streams.text import as_json
from shared import clock, errors
from shared.http import endless, streaming

log = structlog.get_logger(__name__)

QUIET = 15.0  #: seconds without an event after which a comment is sent: proxies close silent connections
RECHECK = 60.0  #: seconds between two checks of the token
RETRY = 1000  #: milliseconds after which a client reconnects

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # makes nginx and others pass on each event at once
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event. A client that reconnects continues after `id`."""

    name: str
    data: dict[str, Any]
    id: str


def response(
    events: AsyncGenerator[Event, None], *, check: Callable[[], Awaitable[object]], release: Callable[[], None]
) -> Response:
    """
    Return a response that sends `events`. `check` raises an `errors.RequestError` once the caller may no longer see
    them; `release` is always called at the end.
    """

    async def end() -> None:
        release()

    return streaming.Streamed(_pieces(events, check), status=200, headers=HEADERS, release=end)


async def _pieces(events: AsyncGenerator[Event, None], check: Callable[[], Awaitable[object]]) -> streaming.Pieces:
    yield format_sse_event(retry=RETRY)
    checked = clock.monotonic()
    with endless.closing() as closing:
        stop = asyncio.ensure_future(closing.wait())
        following = asyncio.ensure_future(_next(events))
        try:
            while True:
                await asyncio.wait({stop, following}, timeout=QUIET, return_when=asyncio.FIRST_COMPLETED)
                if stop.done():
                    return
                if clock.monotonic() - checked >= RECHECK:
                    try:
                        await check()
                    except errors.RequestError as error:
                        yield _refused(error)
                        return
                    except errors.Unavailable as error:
                        log.info("stream.not_checked", error=str(error))
                    checked = clock.monotonic()
                if not following.done():
                    yield format_sse_event(comment="still here")
                    continue
                event = following.result()
                if event is None:
                    return
                yield format_sse_event(event=event.name, data_str=as_json(event.data), id=event.id)
                following = asyncio.ensure_future(_next(events))
        finally:
            stop.cancel()
            following.cancel()
            await asyncio.wait({stop, following})
            await events.aclose()


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)


def _refused(error: errors.RequestError) -> bytes:
    data = {"code": answers.code_of(error), "detail": str(error)}
    return format_sse_event(event="error", data_str=as_json(data))
