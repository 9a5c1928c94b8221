"""HTTP of the gateway on real stores: HEAD, slashes, parameters, early refusals, invalid bodies."""

from __future__ import annotations

import asyncio
import codecs
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from pymongo import monitoring

from services.api import app
from services.api.http.strict_queries import StrictRoute
from shared import clock
from shared.auth import tokens
from shared.models.user import User
from shared.settings import Settings
from tests.support import samples
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import API, Gateway, listening

pytestmark = pytest.mark.stores

TIMEOUT = 10.0


ROUTES = [route for route in app.document().routes if isinstance(route, APIRoute)]
CHANGING = [route for route in ROUTES if isinstance(route, StrictRoute) and route.changes_something]
PATHS = {"task_id": "1", "user_id": "alice", "project_id": "lab", "recipe_id": "r", "token_id": "t", "node": "n1"} | {
    "days": "0",
    "skip": "0",
    "limit": "1",
    "switch": "on",
    "year": "2026",
    "month": "1",
    "status": "all",
    "image": "busybox",
    "path": "x",
    "token": "t",
}


def address(route: APIRoute) -> str:
    return route.path_format.format_map({**PATHS, **dict.fromkeys(route.param_convertors.keys() - PATHS.keys(), "x")})


async def ask(gateway: Gateway, method: str, url: str, by: User | None = None, **options: Any) -> httpx.Response:
    headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {gateway.token(by)}"} if by else {})}
    return await gateway.http.request(method, url, headers=headers, **options)


# --- HEAD -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [f"{API}/ping", f"{API}/config", "/health", "/metrics", "/docs", "/openapi.json", f"{API}/task/1", "/"]
)
async def test_head_is_answered_as_get_without_its_body(gateway: Gateway, alice: User, path: str) -> None:
    await gateway.add_task(1)
    got, looked = [await ask(gateway, method, path, alice) for method in ("GET", "HEAD")]
    assert looked.status_code == got.status_code != 405
    assert looked.content == b""
    assert looked.headers["content-type" if path != "/" else "location"] == got.headers.get(
        "content-type", got.headers.get("location")
    )


@pytest.mark.parametrize("route", [route for route in ROUTES if "GET" in route.methods], ids=lambda route: route.path)
async def test_head_is_answered_wherever_get_is(gateway: Gateway, admin: User, route: APIRoute) -> None:
    looked = await ask(gateway, "HEAD", address(route), admin)
    got = await ask(gateway, "GET", address(route), admin)
    assert looked.status_code == got.status_code != 405
    assert looked.content == b""


async def test_head_changes_nothing_where_get_would(gateway: Gateway, alice: User) -> None:
    await gateway.add_task(1)
    before = await gateway.task(1)
    for route in CHANGING:
        if "GET" in route.methods:
            answer = await ask(gateway, "HEAD", address(route), alice)
            assert answer.status_code == 200, (route.path, answer.text)
    assert await gateway.task(1) == before


class Writes(monitoring.CommandListener):
    """Writes to the store."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in ("insert", "update", "delete", "findAndModify", "bulkWrite"):
            self.seen.append(str(event.command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


async def test_a_get_that_writes_is_marked_as_one_that_changes_something(settings: Settings) -> None:
    listener = Writes()
    monitoring.register(listener)
    try:
        async with gateways.opened(settings) as gateway:
            admin = await gateway.add_user("admin", admin=True)
            await gateway.add_user("alice")
            await gateway.add_task(1)
            await ask(gateway, "GET", f"{API}/task/1", admin)
            listener.seen.clear()
            for route in ROUTES:
                if "GET" in route.methods and route not in CHANGING:
                    await ask(gateway, "GET", address(route), admin)
                    assert listener.seen == [], route.path
    finally:
        monitoring._LISTENERS.command_listeners.remove(listener)


# --- slashes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("slashes", ["//", "///", "/%2F", "//%2f/"])
async def test_extra_leading_slashes_are_ignored(gateway: Gateway, alice: User, slashes: str) -> None:
    await gateway.add_task(1)
    async with listening(gateway) as port:
        for path in ("api/1.0/task/active", "api/1.0/task/1", "health"):
            head = f"GET {slashes}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.token(alice)}\r\n"
            told = await sent(port, head.encode() + b"Connection: close\r\n\r\n")
            assert told.split(b" ", 2)[1] in (b"200", b"503"), told[:200]
            assert b"location" not in told


@pytest.mark.parametrize(
    "path", ["/docs/", f"{API}/ping/", f"{API}/task/", "/static-offline-docs", "//evil.example//docs/"]
)
async def test_a_redirect_ignores_the_host_header(gateway: Gateway, alice: User, path: str) -> None:
    answer = await ask(gateway, "GET", path + "?a=b", alice, headers={"Host": "evil.example"})
    assert answer.status_code in (307, 404)
    if answer.status_code == 307:
        assert answer.headers["location"].startswith("/")
        assert not answer.headers["location"].startswith("//")
        assert answer.headers["location"].endswith("?a=b")
    assert "evil.example/" not in answer.headers.get("location", "")


@pytest.mark.parametrize("path", ["/", "/redoc"])
async def test_a_browser_finds_the_documentation(gateway: Gateway, path: str) -> None:
    answer = await gateway.http.get(path, follow_redirects=True, headers={"Host": "evil.example"})
    assert (answer.status_code, answer.url.path) == (200, "/docs")
    assert "swagger-ui" in answer.text


# --- unknown parameters ----------------------------------------------------------------------------


async def state(gateway: Gateway) -> list[Any]:
    database = gateway.stores.database
    names = sorted(await database.list_collection_names())
    return [[name, await database[name].find().sort("_id", 1).to_list(None)] for name in names if name != "receipts"]


@pytest.mark.parametrize("route", CHANGING, ids=lambda route: f"{sorted(route.methods)[0]} {route.path}")
async def test_a_request_that_changes_something_refuses_unknown_parameters(
    gateway: Gateway, admin: User, route: APIRoute
) -> None:
    await gateway.add_user("alice")
    await gateway.add_task(1)
    before = await state(gateway)
    (method,) = route.methods
    answer = await ask(gateway, method, address(route), admin, params={"no_such_thing": "1"}, content=b"")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert answer.json()["errors"][0]["path"] == "query.no_such_thing"
    assert await state(gateway) == before


@pytest.mark.parametrize(
    ("method", "path", "named", "nearest"),
    [
        ("DELETE", "/user/alice/task?tags=a", "tags", "tag"),
        ("DELETE", "/archive/0?label=x", "label", "tag"),
        ("DELETE", "/task/1?indexes=3", "indexes", "index"),
        ("POST", "/task?dryrun=true", "dryrun", "dry_run"),
        ("POST", "/task?dry_run=true&dry_run=false", "dry_run", "more than once"),
        ("DELETE", "/user/alice/task?tag=a&tag=b", "tag", "more than once"),
        ("GET", "/task/1/suspend?now", "now", "none"),
    ],
)
async def test_the_parameter_and_the_nearest_known_one_are_named(
    gateway: Gateway, alice: User, method: str, path: str, named: str, nearest: str
) -> None:
    await gateway.add_task(1)
    before = await state(gateway)
    content = {"json": samples.submission()} if method == "POST" else {}
    answer = await gateway.ask(method, path, alice, **content)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["path"] == f"query.{named}"
    assert nearest in error["rule"]
    assert await state(gateway) == before


async def test_a_request_that_only_reads_ignores_unknown_parameters(gateway: Gateway, alice: User) -> None:
    assert (await gateway.ask("GET", "/task/active?_=1732&columns=x", alice)).status_code == 200


# --- refusals before the body -----------------------------------------------------------------------


async def sent(port: int, data: bytes) -> bytes:
    """Send these bytes and return everything until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), TIMEOUT)
    finally:
        writer.close()


@pytest.fixture
async def expired(gateway: Gateway, alice: User) -> str:
    secret = gateway.settings.secret_passphrase.get_secret_value()
    return tokens.make_session(alice.id, alice.apikey.hash, secret=secret, now=clock.now() - 100, seconds=10)


async def test_a_client_that_expects_100_continue_is_refused_before_its_body(
    gateway: Gateway, alice: User, expired: str
) -> None:
    async with listening(gateway) as port:
        for token, path, status in (
            ("", "/task", b"401"),
            (expired, "/task", b"401"),
            (gateway.token(alice), "/task?dryrun=1", b"422"),
            (gateway.token(alice), "/guest/status", b"403"),
        ):
            head = f"POST {API}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            told = await sent(port, head.encode() + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n")
            assert told.split(b" ", 2)[1] == status, told
            assert b"connection: close" in told


async def test_a_client_that_expects_100_continue_gets_it_and_is_served(gateway: Gateway, alice: User) -> None:
    async with listening(gateway) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = b'{"container": {"image": "busybox"}, "command": {"cmd": "true"}}'
        head = f"POST {API}/task HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {gateway.token(alice)}\r\n"
        writer.write(head.encode() + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert b" 200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT)
        writer.close()


@pytest.fixture
async def stored(settings: Settings, tmp_path: Any) -> AsyncIterator[Gateway]:
    """A gateway with a files service and 100 kB per user."""
    async with gateways.with_files(settings, tmp_path, disk_default_quota=100_000) as made:
        yield made


async def test_a_file_that_does_not_fit_is_refused_before_it_is_sent(stored: Gateway) -> None:
    alice = await stored.add_user("alice")
    async with listening(stored) as port:

        async def put(name: str, size: int, *, body: bytes = b"") -> bytes:
            head = f"PUT {API}/user/alice/files/{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stored.token(alice)}\r\n"
            ending = b"Connection: close\r\n\r\n" + body if body else b"Expect: 100-continue\r\n\r\n"
            return await sent(port, head.encode() + b"Content-Length: %d\r\n" % size + ending)

        assert (await put("whole", 200_000)).startswith(b"HTTP/1.1 413 ")
        assert (await put("first", 60_000, body=b"x" * 60_000)).startswith(b"HTTP/1.1 200 ")
        told = await put("second", 60_000)
        assert told.startswith(b"HTTP/1.1 413 ")
        assert b'"quota_exceeded"' in told


# --- invalid JSON --------------------------------------------------------------------------------------

DOCUMENT = '{"container": {"image": "busybox"}}'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (codecs.BOM_UTF8 + DOCUMENT.encode(), ("byte order mark", "EF BB BF", "line 1, column 1")),
        (DOCUMENT.encode("utf-16"), ("UTF-16", "line 1, column 1")),
        (DOCUMENT.encode("utf-16-le"), ("UTF-16", "line 1, column 1")),
        (DOCUMENT.encode("utf-16-be"), ("UTF-16", "line 1, column 1")),
        (DOCUMENT.encode("utf-32"), ("UTF-32", "line 1, column 1")),
        ('{"a":\n "é"}'.encode("latin-1"), ("not UTF-8", "E9", "line 2, column 3")),
        (f"{DOCUMENT}\n{DOCUMENT}".encode(), ("more than one JSON document", "line 2, column 1")),
        (b"hello", ("is not JSON", "line 1, column 1")),
        (b'{"a" 1}', ("is not JSON", "':'", "line 1, column 6")),
        (b'{"a": 1,}', ("is not JSON", "trailing comma", "line 1, column 8")),
        (b'{"a": NaN}', ("is not JSON", "line 1, column 7")),
        (b"\x1f\x8b\x08\0\0\0\0\0", ("gzip", "line 1, column 1")),
    ],
)
async def test_an_invalid_json_body_is_refused_with_place_and_reason(
    gateway: Gateway, alice: User, body: bytes, words: tuple[str, ...]
) -> None:
    for path in ("/task", "/task/batch", "/authenticate"):
        answer = await gateway.ask("POST", path, alice, content=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
        assert answer.json()["errors"] == [{"path": "body", "rule": answer.json()["detail"].removeprefix("body: ")}]
        for word in words:
            assert word in answer.json()["detail"]


# --- invalid tokens ------------------------------------------------------------------------------------


async def test_a_token_that_has_expired_says_so_and_what_to_do(gateway: Gateway, expired: str) -> None:
    for _ in range(2):
        answer = await gateway.http.get(f"{API}/task/active", headers={"Authorization": f"Bearer {expired}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")
        assert "POST /api/1.0/authenticate" in answer.json()["detail"]


@pytest.mark.parametrize("token", ["x", "a.b.c", "e30.e30.e30", "x" * 5000])
async def test_an_invalid_token_reveals_nothing_about_our_libraries(gateway: Gateway, token: str) -> None:
    answer = await gateway.http.get(f"{API}/task/active", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert "Error" not in answer.json()["detail"]


# --- pages ------------------------------------------------------------------------------------------


async def test_tasks_that_ended_at_the_same_time_keep_their_places_from_page_to_page(
    gateway: Gateway, alice: User
) -> None:
    numbers = list(range(1, 31))
    for number in numbers:
        await gateway.add_task(number, "over", user="alice", started_at=samples.NOW, ended_at=samples.NOW + number % 3)
    expected = sorted(numbers, key=lambda number: (number % 3, number), reverse=True)
    found = []
    for skip in range(0, 30, 4):
        answer = await gateway.ask("POST", f"/task/over/{skip}/4", alice)
        found += [task["id"] for task in answer.json()]
    assert found == expected
    paged = [
        task["id"]
        for start in range(0, 30, 4)
        for task in (await gateway.ask("GET", f"/task/over?draw=1&start={start}&limit=4", alice)).json()[0]["data"]
    ]
    assert paged == expected


# --- real clients ---------------------------------------------------------------------------------------


async def run(*argv: str) -> str:
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("option", ["--http2", "--http1.1", "--http1.0", "--expect100-timeout=30"])
async def test_curl_is_served_whatever_it_speaks(gateway: Gateway, alice: User, option: str) -> None:
    async with listening(gateway) as port:
        url, token = f"http://127.0.0.1:{port}/{API}", f"Authorization: Bearer {gateway.token(alice)}"
        body = '{"container": {"image": "busybox"}, "command": {"cmd": "true"}}'
        extra = ["-H", "Expect: 100-continue"] if "expect" in option else [option]
        posted = await run("curl", "-sS", *extra, "-H", token, "-d", body, f"{url}/task", "-w", "\n%{http_code}")
        assert posted.endswith("\n200"), posted
        listed = await run("curl", "-sS", *extra, "-H", token, f"{url}/task/active")
        assert '"busybox' in listed


async def test_the_caller_is_looked_up_once_per_request(gateway: Gateway, alice: User) -> None:
    """The check before the body is only for clients that wait for it."""
    asked = []
    ask_users = gateway.context.users.ask

    async def counted(user_id: str) -> User | None:
        asked.append(user_id)
        return await ask_users(user_id)

    gateway.context.users.ask = counted  # type: ignore[method-assign]
    assert (await gateway.ask("POST", "/task", alice, json=samples.submission())).status_code == 200
    assert len(asked) <= 2
