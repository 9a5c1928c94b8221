"""Streams and downloads of both clients are continued where they break, for as long as the server comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from godocker_client import AsyncClient, Client, EndEvent, LogEvent, aio, client, errors
from godocker_client.session import Session

Handler = Callable[[httpx.Request], httpx.Response]

LOG = 'event: log\ndata: {{"stream":"out","offset":{0},"text":"{1}"}}\nid: 1-{2}-0\n\n'
END = 'event: end\ndata: {"status":"over","exit_code":0,"ending":"exited","reason":null}\nid: 1-3-0\n\n'


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body for either client."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


class Broken(Body):
    """A body that breaks off after some bytes, once an hour has gone by."""

    def __init__(self, content: bytes, clock: list[float]) -> None:
        super().__init__(content)
        self._clock = clock

    def __iter__(self) -> Iterator[bytes]:
        self._clock[0] += 3600
        yield self._content
        raise httpx.ReadError("broken off")


@pytest.fixture(params=["sync", "async"])
def every(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Collect what a method of the client yields, with a server that answers by `handler`, and a clock of its own."""
    monkeypatch.setattr(client, "PAUSE", 0.0)
    monkeypatch.setattr(aio, "PAUSE", 0.0)

    def collect(handler: Handler, clock: list[float], method: str, *arguments: Any) -> list[Any]:
        session = Session(token="t", patience=10.0, monotonic=lambda: clock[0])
        if request.param == "sync":
            with Client("http://test") as one:
                one.session = session
                one._http = httpx.Client(base_url="http://test", transport=httpx.MockTransport(handler))
                return list(getattr(one, method)(*arguments))

        async def gather() -> list[Any]:
            async with AsyncClient("http://test") as one:
                await one._http.aclose()
                one.session = session
                one._http = httpx.AsyncClient(base_url="http://test", transport=httpx.MockTransport(handler))
                return [item async for item in getattr(one, method)(*arguments)]

        return asyncio.run(gather())

    return collect


def test_a_stream_that_breaks_after_an_hour_is_continued_behind_its_last_event(every: Callable[..., Any]) -> None:
    clock, asked = [0.0], []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("last-event-id"))
        headers = {"Content-Type": "text/event-stream"}
        first = len(asked) == 1
        if first:
            return httpx.Response(200, headers=headers, stream=Broken(LOG.format(0, "ab", 2).encode(), clock))
        return httpx.Response(200, headers=headers, content=LOG.format(2, "c", 3) + END)

    *logs, end = every(handler, clock, "follow", 7)
    assert [(event.offset, event.text) for event in logs if isinstance(event, LogEvent)] == [(0, "ab"), (2, "c")]
    assert isinstance(end, EndEvent)
    assert asked == [None, "1-2-0"]


def test_a_server_that_stays_away_ends_a_stream_once_patience_is_over(every: Callable[..., Any]) -> None:
    clock = [0.0]

    def handler(request: httpx.Request) -> httpx.Response:
        clock[0] += 4
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(errors.ServerUnreachable):
        every(handler, clock, "follow", 7)
    assert 10 < clock[0] <= 20


def test_a_download_is_continued_by_range_and_begun_again_where_nothing_came(every: Callable[..., Any]) -> None:
    clock, asked = [0.0], []

    def handler(request: httpx.Request) -> httpx.Response:
        if "files" not in request.url.path:
            return httpx.Response(200, json={"id": 7})
        asked.append((request.headers.get("range"), request.headers.get("if-match")))
        if len(asked) == 1:
            raise httpx.ConnectError("refused", request=request)
        if len(asked) == 2:
            return httpx.Response(200, headers={"ETag": '"x"'}, stream=Broken(b"ab", clock))
        return httpx.Response(206, headers={"ETag": '"x"'}, stream=Body(b"c"))

    assert b"".join(every(handler, clock, "download", 7, "f")) == b"abc"
    assert asked == [(None, None), (None, None), ("bytes=2-", '"x"')]
