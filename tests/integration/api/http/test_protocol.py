"""HTTP as old and new clients speak it, byte by byte, on a real server."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
from collections.abc import AsyncIterator

import httptools
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from shared import errors
from shared.http import offers, protocol, streaming
from tests.support import raw_http
from tests.support.raw_http import SLACK, Connection

MB = 1024 * 1024


async def echo(request: Request) -> PlainTextResponse:
    body = await request.body()
    return PlainTextResponse(f"{request.method} {request.url.path} <{body[:100].decode()}> {len(body)}\n")


async def pieces(_: Request) -> StreamingResponse:
    async def made() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"piece %d\n" % number

    return StreamingResponse(made())


async def refuse(_: Request) -> PlainTextResponse:
    """Answer without reading the body."""
    return PlainTextResponse("too much\n", 413)


async def broken(_: Request) -> Response:
    async def made() -> streaming.Pieces:
        yield b"begun"
        raise errors.TransferBroken("the file became shorter while it was sent")

    async def release() -> None:
        pass

    return streaming.Streamed(made(), status=200, headers={"Content-Length": "100"}, release=release)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    routes = [
        Route("/", echo, methods=["GET", "POST", "PUT"]),
        Route("/pieces", pieces),
        Route("/refuse", refuse, methods=["POST"]),
        Route("/broken", broken),
    ]
    async with raw_http.served(routes) as port:
        yield port


@pytest.fixture
async def client(port: int) -> AsyncIterator[Connection]:
    made = await raw_http.connect(port)
    yield made
    made.writer.transport.abort()


OFFERS = {
    "curl --http2": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
    "java.net.http": b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "TLS": b"Upgrade: TLS/1.2\r\nConnection: upgrade\r\n",
    "nothing known": b"connection: Upgrade\r\nupgrade: x\r\n",
    "no connection": b"Upgrade: websocket\r\n",
}
BODIES = {
    "length": (b"Content-Length: 5\r\n", b"hello"),
    "chunks": (b"Transfer-Encoding: chunked\r\n", b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("split", [False, True], ids=["at once", "body later"])
async def test_an_offer_to_upgrade_is_ignored_and_the_body_and_the_next_request_count(
    client: Connection, offer: str, body: str, split: bool
) -> None:
    header, content = BODIES[body]
    head = b"POST / HTTP/1.1\r\nHost: x\r\n" + OFFERS[offer] + header + b"\r\n"
    following = b"GET /?next HTTP/1.1\r\nHost: x\r\n\r\n"
    await (client.send(head, content, following) if split else client.send(head + content + following))
    first = await client.answer(b"5\n")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert b"POST / <hello>" in first
    second = await client.answer(b" 0\n")
    assert second.startswith(b"HTTP/1.1 200 ")
    assert b"GET / <>" in second


@pytest.mark.parametrize("offer", OFFERS)
async def test_a_body_behind_an_offer_is_never_run_as_a_request(client: Connection, offer: str) -> None:
    inner = b"GET /inner HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: x\r\n" + OFFERS[offer] + b"Content-Length: %d\r\n\r\n" % len(inner)
    await client.send(head, inner, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    told = await client.told()
    assert told.count(b"HTTP/1.1 ") == told.count(b"HTTP/1.1 200 ") == 2
    assert b"%d\n" % len(inner) in told


async def test_many_offers_in_one_segment_are_all_ignored(client: Connection) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\n" + OFFERS["websocket"] + b"Content-Length: 5\r\n\r\nhello"
    client.writer.write(request * 3000)
    for _ in range(3000):
        assert (await client.answer(b"5\n")).startswith(b"HTTP/1.1 200 ")


async def test_connect_is_refused(client: Connection) -> None:
    await client.send(b"CONNECT mongo:27017 HTTP/1.1\r\nHost: mongo:27017\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
    told = await client.told()
    assert told.startswith(b"HTTP/1.1 400 ")
    assert len(re.findall(rb"HTTP/1.1 \d", told)) == 1


_TOKENS = st.text("abcxyz-", min_size=1, max_size=8).map(str.encode)
_VALUES = st.text(
    st.characters(codec="latin-1", exclude_characters="\r\n\0", min_codepoint=32, exclude_categories=["Cc"])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_TOKENS, _VALUES.map(lambda text: text.encode("latin-1").strip())), max_size=6))
def test_a_head_without_its_offer_is_the_same_head_to_a_parser(headers: list[tuple[bytes, bytes]]) -> None:
    class Heard:
        def __init__(self) -> None:
            self.headers: list[tuple[bytes, bytes]] = []

        def on_header(self, name: bytes, value: bytes) -> None:
            self.headers.append((name, value))

    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    offered = [*headers, (b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"h2c")]
    parser.feed_data(offers.declined(b"GET", b"/", "1.1", offered))
    assert heard.headers == [*headers, (b"connection", b"keep-alive")]
    assert not parser.should_upgrade()


async def test_thousands_of_websocket_offers_leave_nothing_behind(port: int) -> None:
    loop = asyncio.get_running_loop()

    async def offered() -> None:
        client = await raw_http.connect(port)
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + OFFERS["websocket"] + b"\r\n")
        assert (await client.answer(b" 0\n")).startswith(b"HTTP/1.1 200 ")
        client.writer.close()
        await client.writer.wait_closed()

    await offered()
    gc.collect()
    for _ in range(20):
        await asyncio.gather(*(offered() for _ in range(50)))
    for _ in range(10):
        await asyncio.sleep(0.05)
    gc.collect()
    kept = [one for one in gc.get_objects() if isinstance(one, protocol.BoundedProtocol)]
    assert len(kept) < 100
    assert loop.is_running()


@pytest.mark.parametrize("hosts", [b"", b"Host: x\r\nHost: y\r\n"])
async def test_a_request_needs_one_host(client: Connection, hosts: bytes) -> None:
    await client.send(b"GET / HTTP/1.1\r\n" + hosts + b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
    told = await client.told()
    assert told.startswith(b"HTTP/1.1 400 ")
    assert b"Host header" in told
    assert len(re.findall(rb"HTTP/1.1 \d", told)) == 1


async def test_the_answer_to_a_request_without_a_host_comes_in_its_turn(client: Connection) -> None:
    await client.send(b"GET /pieces HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    told = await client.told()
    assert re.findall(rb"HTTP/1.1 (\d+)", told) == [b"200", b"400"]
    assert b"piece 2\n\r\n0\r\n\r\nHTTP/1.1 400" in told


async def test_garbage_behind_a_request_does_not_disturb_its_answer(client: Connection) -> None:
    await client.send(b"GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n\0\1\2garbage\r\n\r\n")
    told = await client.told()
    assert told.endswith(b"piece 2\n\r\n0\r\n\r\n")
    assert len(re.findall(rb"HTTP/1.1 \d", told)) == 1


@pytest.mark.parametrize("headers", [b"", b"Host: x\r\n", b"Connection: keep-alive\r\n"])
async def test_an_older_client_gets_no_chunks_and_the_end_by_closing(client: Connection, headers: bytes) -> None:
    await client.send(b"GET /pieces HTTP/1.0\r\n" + headers + b"\r\n")
    head, _, body = (await client.told()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"piece 0\npiece 1\npiece 2\n"


async def test_an_http_1_0_client_gets_no_100_continue(client: Connection) -> None:
    await client.send(b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", b"hello")
    assert (await client.told()).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_expects_100_continue_is_answered_without_its_body(client: Connection) -> None:
    head = b"POST /refuse HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    await client.send(head)
    told = await client.answer(b"too much\n")
    assert told.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in told


async def test_a_client_that_expects_100_continue_gets_it_if_its_body_is_read(client: Connection) -> None:
    await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert await client.answer(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"hello")
    assert (await client.answer(b" 5\n")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("size", [MB + MB // 10, 6 * MB])
async def test_a_client_that_keeps_sending_after_the_answer_can_read_it(port: int, size: int) -> None:
    """Thirty times: closing a connection with unread data resets it, usually before the client has read the answer."""
    head = b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size

    def post() -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=SLACK) as connection:
            connection.sendall(head)
            sent = memoryview(b"x" * size)
            while sent:
                sent = sent[connection.send(sent[:65536]) :]
            told = b""
            while piece := connection.recv(65536):
                told += piece
            return told

    for _ in range(30):
        told = await asyncio.to_thread(post)
        assert told.startswith(b"HTTP/1.1 413 ")
        assert told.endswith(b"too much\n")


async def test_a_client_that_sends_without_end_after_the_answer_is_cut_off(client: Connection) -> None:
    sent = 0

    async def send_on() -> None:
        nonlocal sent
        await client.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await client.send(b"%x\r\n" % MB + b"x" * MB + b"\r\n")
            sent += 1

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(send_on(), SLACK)
    assert sent * MB < 4 * protocol.REST_LIMIT


async def test_a_client_that_sends_nothing_after_the_answer_is_closed_at_once(
    client: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "REST_TIMEOUT", 0.3)
    await client.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
    assert (await client.told()).endswith(b"too much\n")

    async def reset() -> None:
        while True:
            await client.send(b"x" * 1000)
            await asyncio.sleep(0.02)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(reset(), SLACK)


async def test_a_transfer_that_breaks_off_ends_without_an_error_in_the_log(
    client: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with structlog.testing.capture_logs() as events:
        await client.send(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
        told = await client.told()
    assert told.endswith(b"\r\n\r\nbegun")
    assert b"content-length: 100" in told
    assert [event["event"] for event in events] == ["transfer.broken"]
    assert not caplog.records
