"""Failed logins are limited, successes are not, and nobody is locked out by others."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import structlog

from services.api import app
from shared import clock
from shared.http import serving
from shared.settings import Settings
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import Gateway
from tests.support.servers.ldap import DirectoryServer

pytestmark = pytest.mark.stores

LIMIT = 5
RIGHT = "correct horse"
HERE, THERE = "192.0.2.1", "198.51.100.1"
LogIn = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture(autouse=True)
def _one_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Freeze the window: no minute ends while a test counts."""
    monkeypatch.setattr(clock, "now", lambda: 1_700_000_000.0)


@asynccontextmanager
async def limited(settings: Settings, **changes: Any) -> AsyncIterator[Gateway]:
    configured = Settings(**{**settings.model_dump(), "authenticate_limit": LIMIT, **changes})
    async with gateways.opened(configured) as gateway:
        yield gateway


async def log_in(gateway: Gateway, user: str, secret: str, *, address: str = HERE) -> int:
    transport = httpx.ASGITransport(app.build(gateway.context), client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60) as http:
        answer = await http.post("/api/1.0/authenticate", json={"user": user, "apikey": secret})
    return answer.status_code


async def test_successes_are_not_limited(settings: Settings) -> None:
    async with limited(settings) as gateway:
        await gateway.add_user("alice")
        answers = [await log_in(gateway, "alice", gateway.keys["alice"]) for _ in range(50)]
        assert answers == [200] * 50
        at_once = await asyncio.gather(*(log_in(gateway, "alice", gateway.keys["alice"]) for _ in range(50)))
        assert at_once == [200] * 50


async def test_successes_by_password_are_not_limited(settings: Settings, directory_server: DirectoryServer) -> None:
    directory_server.add_person("carol", RIGHT)
    async with limited(settings, **directory_server.settings(ldap_timeout=30.0)) as gateway:
        at_once = await asyncio.gather(*(log_in(gateway, "carol", RIGHT) for _ in range(6 * LIMIT)))
        assert at_once == [200] * 6 * LIMIT


async def test_successes_between_failures_neither_count_nor_reset_the_count(settings: Settings) -> None:
    async with limited(settings) as gateway:
        await gateway.add_user("alice")
        for _ in range(LIMIT):
            assert await log_in(gateway, "alice", gateway.keys["alice"]) == 200
            assert await log_in(gateway, "alice", "wrong") == 401
        assert await log_in(gateway, "alice", "wrong") == 429


async def test_the_failures_of_another_address_do_not_lock_the_owner_out(settings: Settings) -> None:
    async with limited(settings) as gateway:
        await gateway.add_user("alice")
        for _ in range(3 * LIMIT):
            await log_in(gateway, "alice", "wrong", address=THERE)
        assert await log_in(gateway, "alice", gateway.keys["alice"], address=THERE) == 429
        assert await log_in(gateway, "alice", gateway.keys["alice"]) == 200


async def test_one_address_is_limited_over_all_names(settings: Settings) -> None:
    async with limited(settings) as gateway:
        answers = [await log_in(gateway, f"user{number}", "wrong") for number in range(60)]
        assert answers == [401] * LIMIT + [429] * (60 - LIMIT)
        assert await log_in(gateway, "user1", "wrong", address=THERE) == 401


async def test_concurrent_attempts_are_limited_too(settings: Settings) -> None:
    async with limited(settings) as gateway:
        tries = [log_in(gateway, f"user{number}", "wrong") for number in range(100)]
        answers = await asyncio.gather(*tries)
        # Attempts in progress when the limit is reached may finish.
        assert LIMIT <= answers.count(401) <= LIMIT + 8
        assert set(answers) == {401, 429}


async def test_the_network_of_one_person_counts_as_one_address(settings: Settings) -> None:
    async with limited(settings) as gateway:
        answers = [
            await log_in(gateway, "alice", "wrong", address=f"2001:db8::{number:x}") for number in range(LIMIT + 3)
        ]
        assert answers[LIMIT:] == [429] * 3
        assert await log_in(gateway, "alice", "wrong", address="2001:db8:0:1::1") == 401


async def test_a_name_is_limited_over_all_addresses(
    settings: Settings, directory_server: DirectoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory_server.add_person("carol", RIGHT)
    most = 2 * LIMIT
    changes = directory_server.settings(authenticate_limit_user=most)
    async with limited(settings, **changes) as gateway:
        assert await log_in(gateway, "carol", RIGHT) == 200, "she was here before"
        tries = [log_in(gateway, "carol", "wrong", address=f"203.0.113.{number}") for number in range(most)]
        assert await asyncio.gather(*tries) == [401] * most
        assert await log_in(gateway, "carol", RIGHT, address=THERE) == 429, "nobody knows her there"
        assert await log_in(gateway, "carol", RIGHT) == 200
        monkeypatch.setattr(clock, "now", lambda: 1_700_000_000.0 + 3600)
        assert await log_in(gateway, "carol", RIGHT, address=THERE) == 200


async def test_failures_of_others_do_not_lock_a_user_out_where_they_logged_in_before(
    settings: Settings, directory_server: DirectoryServer
) -> None:
    """All clients behind one proxy have its address."""
    directory_server.add_person("carol", RIGHT)
    async with limited(settings, **directory_server.settings()) as gateway:
        assert await log_in(gateway, "carol", RIGHT) == 200
        for number in range(LIMIT):
            await log_in(gateway, f"user{number}", "wrong")
        assert await log_in(gateway, "user1", "wrong") == 429
        assert await log_in(gateway, "carol", RIGHT) == 200


async def test_a_key_works_however_many_others_fail_at_its_address(settings: Settings) -> None:
    async with limited(settings) as gateway:
        await gateway.add_user("alice")
        for number in range(2 * LIMIT):
            await log_in(gateway, f"user{number}", "wrong")
        assert await log_in(gateway, "alice", gateway.keys["alice"]) == 200


async def test_an_account_that_cannot_be_used_is_no_failure(
    settings: Settings, directory_server: DirectoryServer
) -> None:
    directory_server.add_person("carol", RIGHT, uidNumber=0)
    async with limited(settings, **directory_server.settings()) as gateway:
        assert [await log_in(gateway, "carol", RIGHT) for _ in range(LIMIT + 2)] == [403] * (LIMIT + 2)


async def test_failures_and_the_limit_are_logged(settings: Settings) -> None:
    async with limited(settings) as gateway:
        with structlog.testing.capture_logs() as lines:
            await log_in(gateway, "my secret pass phrase", "wrong")
            for _ in range(3 * LIMIT):
                await log_in(gateway, "Alice", "wrong-secret")
    failed = [line for line in lines if line["event"] == "login.failed"]
    assert [(line["user"], line["address"], line["log_level"]) for line in failed] == [
        ("…", HERE, "info"),
        *[("alice", HERE, "info")] * (LIMIT - 1),
    ]
    assert [line["by"] for line in lines if line["event"] == "login.limit_reached"] == ["address"]
    assert "secret" not in str(lines)


# --- forwarded addresses -------------------------------------------------------------------------


async def _answers(gateway: Gateway, proxies: list[str], forwarded: Callable[[int], str], tries: int) -> list[int]:
    """Return the answers to a client that forges a different forwarded address in each request."""
    stop, bound = asyncio.Event(), serving.bind("127.0.0.1", 0)
    port = int(bound.getsockname()[1])
    serve = serving.serve(
        app.build(gateway.context), stop, host="127.0.0.1", port=port, listening=bound, proxies=proxies
    )
    server = asyncio.create_task(serve, name="gateway")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            told = []
            for number in range(tries):
                answer = await http.post(
                    "/api/1.0/authenticate",
                    json={"user": "alice", "apikey": "wrong"},
                    headers={"X-Forwarded-For": forwarded(number), "Forwarded": f"for={forwarded(number)}"},
                )
                told.append(answer.status_code)
    finally:
        stop.set()
        await server
    return told


def _another(number: int) -> str:
    return f"203.0.113.{number}"


async def test_a_forwarded_address_is_ignored_by_default(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "FORWARDED_ALLOW_IPS", "*")
    async with limited(settings) as gateway:
        assert await _answers(gateway, [], _another, LIMIT + 2) == [401] * LIMIT + [429] * 2


async def test_only_the_forwarded_address_of_a_trusted_proxy_counts(settings: Settings) -> None:
    async with limited(settings) as gateway:
        told = await _answers(gateway, ["127.0.0.0/8"], _another, LIMIT + 2)
        assert told == [401] * (LIMIT + 2)
        # The client's own header precedes what the proxy added.
        told = await _answers(gateway, ["127.0.0.0/8"], lambda number: f"{_another(number)}, {THERE}", LIMIT + 2)
        assert told == [401] * LIMIT + [429] * 2
