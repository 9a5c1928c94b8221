"""
Requests through the proxy that comes with us, over connections that were idle for about as long as both sides keep
them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest

from shared.http import protocol, serving
from shared.models.user import User
from tests.support import samples
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import API, Gateway
from tests.support.servers import caddy

pytestmark = pytest.mark.stores

FASTER = 150  #: times shorter than deployed are the idle times here
PROXY_KEEPS = 60 / FASTER
GATEWAY_KEEPS = serving.KEEP_ALIVE / FASTER
AROUND = (-0.05, -0.02, 0.0, 0.02, 0.05)  #: seconds from one of these times at which requests are sent again
REQUESTS = 1000
AT_ONCE = 100


@pytest.fixture
async def proxy(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[caddy.Caddy]:
    monkeypatch.setattr(serving, "KEEP_ALIVE", GATEWAY_KEEPS)
    async with gateways.listening(gateway) as port:
        context = caddy.running(port, changes={"keepalive 60s": f"keepalive {PROXY_KEEPS * 1000:.0f}ms"})
        made = await asyncio.to_thread(context.__enter__)
        try:
            yield made
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)


@pytest.fixture
def closed_by_gateway(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """
    Collect the idle connections that the gateway closes first: a request on its way would be lost on each of them.
    """
    closed: list[object] = []
    close = protocol.BoundedProtocol.timeout_keep_alive_handler

    def count_and_close(connection: protocol.BoundedProtocol) -> None:
        closed.append(connection)
        close(connection)

    monkeypatch.setattr(protocol.BoundedProtocol, "timeout_keep_alive_handler", count_and_close)
    return closed


@pytest.mark.timeout(600)
async def test_no_request_over_a_reused_idle_connection_fails(
    gateway: Gateway, proxy: caddy.Caddy, alice: User, closed_by_gateway: list[object]
) -> None:
    trusted = ssl.create_default_context(cafile=str(proxy.certificate))
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE, keepalive_expiry=None)
    headers = {"Authorization": f"Bearer {gateway.token(alice)}"}
    statuses: Counter[int] = Counter()
    async with httpx.AsyncClient(
        base_url=proxy.url + API, headers=headers, verify=trusted, limits=limits, timeout=30, trust_env=False
    ) as client:

        async def send() -> None:
            answer = await client.post("/task", json=samples.submission())
            statuses[answer.status_code] += 1

        idle = [kept + offset for kept in (PROXY_KEEPS, GATEWAY_KEEPS) for offset in AROUND]
        for turn in range(REQUESTS // AT_ONCE):
            await asyncio.gather(*(send() for _ in range(AT_ONCE)))
            await asyncio.sleep(idle[turn % len(idle)])
    assert statuses == {200: REQUESTS}
    assert not closed_by_gateway
    assert await gateway.stores.database["tasks"].count_documents({}) == REQUESTS
