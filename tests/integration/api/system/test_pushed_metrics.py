"""Measurements pushed through HTTP: with the key, from a fixed list, for a bounded number of hosts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from services.api import pushed_metrics
from shared.settings import Settings
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores

KEY = "a-key-for-pushing"


@pytest.fixture
async def pushable(settings: Settings) -> AsyncIterator[Gateway]:
    async with gateways.opened(settings.model_copy(update={"prometheus_key": SecretStr(KEY)})) as made:
        yield made


def stat(**changes: Any) -> dict[str, Any]:
    return {"name": "god_scheduler", "value": 0.25, "host": "head1.example.org", **changes}


async def push(where: Gateway, *stats: Any, key: Any = KEY) -> Any:
    return await where.ask("POST", "/prometheus", json={"key": key, "stat": list(stats)})


async def metrics(where: Gateway) -> str:
    return (await where.http.get("/metrics")).text


async def test_pushed_measurements_are_exposed_to_prometheus(pushable: Gateway) -> None:
    answer = await push(pushable, stat(), stat(name="god_watcher", value="3", host="head2"))
    assert (answer.status_code, answer.json()) == (200, {"msg": "Metrics recorded"})
    text = await metrics(pushable)
    assert 'godocker_pushed{host="head1.example.org",name="god_scheduler"} 0.25' in text
    assert 'godocker_pushed{host="head2",name="god_watcher"} 3.0' in text
    await push(pushable, stat(value=0.5))
    assert 'godocker_pushed{host="head1.example.org",name="god_scheduler"} 0.5' in await metrics(pushable)


async def test_a_push_without_the_right_key_is_refused(pushable: Gateway) -> None:
    for key in ("", KEY[:-1], KEY + "x", KEY.upper(), "x", "é"):
        answer = await push(pushable, stat(host="intruder"), key=key)
        assert answer.status_code == 401, key
    assert (await pushable.ask("POST", "/prometheus", json={"stat": [stat(host="intruder")]})).status_code == 401
    assert (await push(pushable, stat(host="intruder"), key={"$ne": ""})).status_code == 422
    assert "intruder" not in await metrics(pushable)


async def test_without_a_configured_key_a_push_is_not_found(gateway: Gateway, settings: Settings) -> None:
    for key in ("", "x"):
        assert (await push(gateway, stat(), key=key)).status_code == 404
    async with gateways.opened(settings.model_copy(update={"prometheus_key": SecretStr("")})) as empty:
        assert (await push(empty, stat(), key="")).status_code == 404


async def test_a_push_with_an_unknown_name_is_refused_as_a_whole(pushable: Gateway) -> None:
    wrong = [
        stat(name="anything"),
        stat(name='god_scheduler"} 1\nevil'),
        stat(name={"$gt": ""}),
        stat(host="a\nb"),
        stat(host='x"} 1'),
        stat(host=""),
        stat(host="x" * 300),
        stat(value="NaN"),
        stat(value=None),
        "nothing",
    ]
    for one in wrong:
        answer = await push(pushable, stat(host="innocent"), one)
        assert answer.status_code == 422, one
    assert "innocent" not in await metrics(pushable)


async def test_hosts_do_not_grow_without_end(pushable: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed_metrics, "MAX_HOSTS", 3)
    assert (await push(pushable, *(stat(host=f"many{number}") for number in range(3)))).status_code == 200
    assert (await push(pushable, stat(host="many4"))).status_code == 422
    assert (await push(pushable, stat(host="many1"))).status_code == 200
