"""The gateway's client of the files service: its requests, and its answers if the service does not respond."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from shared.auth import grants
from shared.auth.grants import Grant, Mode
from shared.models.user import Allowance
from shared.settings import Settings
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores

#: None: accepts everything and never answers.
Handler = Callable[[bytes], bytes | None]


@asynccontextmanager
async def files_service(handler: Handler) -> AsyncIterator[str]:
    """Yield the address of a server that answers each request head with `handler`, then closes."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            said = handler(await reader.readuntil(b"\r\n\r\n"))
            if said is None:
                await reader.read()
            else:
                writer.write(said)
                await writer.drain()
        finally:
            writer.close()

    async with await asyncio.start_server(on_connection, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def gateway_with(settings: Settings, handler: Handler) -> AsyncIterator[Gateway]:
    async with (
        files_service(handler) as url,
        gateways.opened(settings.model_copy(update={"files_url": url})) as gateway,
    ):
        yield gateway
        await gateway.context.files.close()


def answered(head: str, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def test_without_a_files_service_the_answer_is_503_with_retry_after(gateway: Gateway) -> None:
    alice = await gateway.add_user("alice")
    await gateway.add_task(1)
    for method, path in (("GET", "/task/1/files/"), ("GET", "/user/alice/files/x"), ("PUT", "/user/alice/files/x")):
        answer = await gateway.ask(method, path, alice)
        assert (answer.status_code, answer.json()["code"]) == (503, "files_unavailable")
        assert int(answer.headers["retry-after"]) > 0
    answer = await gateway.http.get("/health")
    assert answer.status_code == 503
    assert not answer.json()["dependencies"]["files"]["ok"]


@pytest.mark.parametrize(
    "said", ["401 Unauthorized", "403 Forbidden", "500 Internal Server Error", "302 Found", "garbage"]
)
async def test_answers_that_are_not_the_clients_business_are_503(settings: Settings, said: str) -> None:
    async with gateway_with(settings, lambda _: answered(said)) as gateway:
        alice = await gateway.add_user("alice")
        answer = await gateway.ask("GET", "/user/alice/files/x", alice)
        assert (answer.status_code, answer.json()["code"]) == (503, "files_unavailable")


async def test_only_known_headers_go_either_way(settings: Settings) -> None:
    heads: list[bytes] = []

    def handler(head: bytes) -> bytes:
        heads.append(head.lower())
        return answered('200 OK\r\nETag: "x"\r\nSet-Cookie: a=b\r\nServer: secret', b"content")

    async with gateway_with(settings, handler) as gateway:
        alice = await gateway.add_user("alice")
        sent = {"Range": "bytes=0-1", "Cookie": "c=d", "X-Forwarded-For": "1.2.3.4"}
        answer = await gateway.ask("GET", "/user/alice/files/a%20b/..%2f%FF", alice, headers=sent)
        assert (answer.content, answer.headers["etag"]) == (b"content", '"x"')
        assert not {"set-cookie", "server"} & set(answer.headers)
    assert heads[0].startswith(b"get /files?path=a%20b/../%ff http/1.1\r\n"), (
        "paths are put in order by who owns the files"
    )
    assert b"\r\nrange: bytes=0-1\r\n" in heads[0]
    assert b"cookie" not in heads[0]
    assert b"1.2.3.4" not in heads[0]
    assert gateway.token(alice).lower().encode() not in heads[0]


@pytest.mark.parametrize(
    ("method", "path", "grant"),
    [
        ("GET", "/task/1234/files/x", Grant("tasks/1/1234", Mode.READ)),
        ("GET", "/user/alice/files/x", Grant("users/alice", Mode.READ, (20001, 20002), 500 * 1024**2)),
        ("PUT", "/user/alice/files/x", Grant("users/alice", Mode.WRITE, (20001, 20002), 500 * 1024**2)),
        ("DELETE", "/user/alice/files/x", Grant("users/alice", Mode.WRITE, (20001, 20002), 500 * 1024**2)),
        ("PUT", "/user/carol/files/x", Grant("users/carol", Mode.WRITE, (20001, 20002), 10 * 1024**3)),
        ("PUT", "/user/dave/files/x", Grant("users/dave", Mode.WRITE, (20001, 20002), None)),
    ],
)
async def test_a_grant_allows_only_what_was_requested(settings: Settings, method: str, path: str, grant: Grant) -> None:
    heads: list[bytes] = []

    def handler(head: bytes) -> bytes:
        heads.append(head)
        return answered("200 OK", b"{}")

    async with gateway_with(settings, handler) as gateway:
        await gateway.add_user("alice", usage=Allowance(disk="500M"))
        await gateway.add_user("carol")
        await gateway.add_user("dave", usage=Allowance(disk="0"))
        await gateway.add_task(1234)
        admin = await gateway.add_user("root", admin=True)
        assert (await gateway.ask(method, path, admin)).status_code == 200
    token = heads[0].partition(b"Authorization: Bearer ")[2].partition(b"\r\n")[0].decode()
    assert grants.read(token, key=grants.key(settings.secret_passphrase.get_secret_value())) == grant


async def test_an_upload_larger_than_the_storage_is_cut_off(settings: Settings) -> None:
    taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1024
            yield b"x" * 1024

    async with gateway_with(settings, lambda _: None) as gateway:
        alice = await gateway.add_user("alice", usage=Allowance(disk="10K"))
        answer = await gateway.ask("PUT", "/user/alice/files/x", alice, content=pieces())
    assert (answer.status_code, answer.json()["code"]) == (413, "quota_exceeded")
    assert answer.headers["content-type"] == "application/problem+json"
    assert taken < 20 * 1024, "the rest is not even asked for"


async def test_bodies_of_other_routes_are_as_limited_as_before(gateway: Gateway) -> None:
    alice = await gateway.add_user("alice")
    large = b"x" * (gateway.settings.max_body + 1)
    for method, path in (("PUT", "/user/alice"), ("PUT", "/user/alice/filesx/y"), ("POST", "/user/alice/files/x")):
        answer = await gateway.ask(method, path, alice, content=large)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
