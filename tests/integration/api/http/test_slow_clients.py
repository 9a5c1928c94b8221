"""Clients that send endlessly, slowly or nothing, on a real server: they are cut off, others are served."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from shared.http import protocol
from tests.support import raw_http
from tests.support.raw_http import SLACK, Connection

TIMEOUT = 0.6  #: seconds that are given in these tests
MB = 1024 * 1024


async def echo(request: Request) -> PlainTextResponse:
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return PlainTextResponse(f"{size} bytes\n")


async def sip(request: Request) -> PlainTextResponse:
    """Pause reading for longer than a client may be silent."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > MB:
            await asyncio.sleep(3 * TIMEOUT)
            break
    return PlainTextResponse("enough\n")


async def slow(_: Request) -> PlainTextResponse:
    await asyncio.sleep(3 * TIMEOUT)
    return PlainTextResponse("at last\n")


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT", TIMEOUT)
    monkeypatch.setattr(protocol, "BODY_TIMEOUT", TIMEOUT)
    routes = [Route("/", echo, methods=["GET", "POST"]), Route("/sip", sip, methods=["POST"]), Route("/slow", slow)]
    async with raw_http.served(routes) as port:
        yield port


@pytest.fixture
async def client(port: int) -> AsyncIterator[Connection]:
    made = await raw_http.connect(port)
    yield made
    made.writer.transport.abort()


async def told(client: Connection) -> bytes:
    """Return everything that the server sends until it closes or resets the connection; nothing after a reset."""
    try:
        return await client.told()
    except ConnectionError:
        return b""


async def test_a_head_without_end_is_cut_off(client: Connection) -> None:
    sent = 0

    async def send_on() -> None:
        nonlocal sent
        await client.send(b"GET / HTTP/1.1\r\nhost: x\r\nx-long: ")
        while sent < 200 * MB:
            await client.send(b"a" * MB)
            sent += MB

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(send_on(), SLACK)
    assert sent < 20 * MB


async def test_too_large_a_head_is_refused(client: Connection) -> None:
    await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n")
    await asyncio.sleep(0.05)
    await client.send(b"x-long: " + b"a" * (protocol.HEAD_LIMIT - 1000))
    await asyncio.sleep(0.05)
    await client.send(b"a" * 2000)
    assert (await told(client)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"])
async def test_a_missing_head_times_out(client: Connection, begun: bytes) -> None:
    await client.send(begun)
    began = time.monotonic()
    assert (await told(client))[:13] == (b"HTTP/1.1 408 " if begun else b"")
    assert time.monotonic() - began < TIMEOUT + SLACK


async def test_a_slow_head_times_out(client: Connection) -> None:
    async def drip() -> None:
        await client.send(b"GET / HTTP/1.1\r\n")
        while True:
            await client.send(b"x-drop: 1\r\n")
            await asyncio.sleep(TIMEOUT / 4)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(drip(), SLACK)


async def test_a_missing_body_times_out(client: Connection) -> None:
    await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345")
    assert (await told(client)).startswith(b"HTTP/1.1 408 ")


async def test_a_slow_body_is_accepted(client: Connection) -> None:
    await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\n")
    for _ in range(8):
        await asyncio.sleep(TIMEOUT / 3)
        await client.send(b"x")
    assert (await client.answer(b"8 bytes\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_waits_for_its_answer_is_not_cut_off(client: Connection) -> None:
    await client.send(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await client.answer(b"at last\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_client_whose_body_is_not_read_is_not_cut_off(client: Connection) -> None:
    size = 64 * MB  # more than the kernel takes
    client.writer.write(b"POST /sip HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
    assert (await client.answer(b"enough\n")).startswith(b"HTTP/1.1 200 ")


async def test_requests_one_after_the_other_and_at_once_are_answered(client: Connection) -> None:
    body = b"x" * (protocol.HEAD_LIMIT * 3)
    request = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    ending = b"%d bytes\n" % len(body)
    for _ in range(3):
        await client.send(request)
        assert (await client.answer(ending)).startswith(b"HTTP/1.1 200 ")
        await asyncio.sleep(TIMEOUT * 1.5)  # within the keep-alive time
    await client.send(request * 5)
    for _ in range(5):
        assert (await client.answer(ending)).startswith(b"HTTP/1.1 200 ")


async def test_others_are_served_beside_many_who_send_nothing(port: int, client: Connection) -> None:
    idle = []
    for _ in range(300):
        one = socket.create_connection(("127.0.0.1", port))
        idle.append(one)
    try:
        await client.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await client.answer(b"0 bytes\n")).startswith(b"HTTP/1.1 200 ")
        for one in idle:
            one.settimeout(SLACK)
            assert await asyncio.to_thread(one.recv, 1) == b""
    finally:
        for one in idle:
            one.close()


async def test_a_client_whose_head_is_not_read_is_not_cut_off(client: Connection) -> None:
    """Two requests are in progress, and the first bytes of a third have come: reading continues after the second."""
    request = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n"
    await client.send(request * 2 + request[:10])
    for _ in range(2):
        assert (await client.answer(b"at last\n")).startswith(b"HTTP/1.1 200 ")
    await client.send(request[10:])
    assert (await client.answer(b"at last\n")).startswith(b"HTTP/1.1 200 ")
