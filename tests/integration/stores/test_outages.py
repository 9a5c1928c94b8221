"""Outages of database and broker: callers get an error in time, and everything recovers by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from shared import errors
from shared.lifecycle import TaskStatus
from shared.models.user import User
from shared.settings import Settings
from shared.store import stores
from tests.integration.conftest import Scene
from tests.support import samples, waiting
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import Gateway
from tests.support.servers.stores import StoreServer

pytestmark = pytest.mark.stores

TIMEOUT = 1.5  #: seconds a request waits for MongoDB in these tests
SLACK = 3.0  #: further seconds, for a busy machine


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[Gateway]:
    async with gateways.opened(settings.model_copy(update={"mongo_timeout": TIMEOUT, "redis_timeout": 0.3})) as made:
        yield made


async def submit(gateway: Gateway, by: User) -> httpx.Response:
    return await gateway.ask("POST", "/task", by, json=samples.submission())


async def count(gateway: Gateway) -> int:
    return await gateway.stores.database["tasks"].count_documents({})


def assert_unavailable(answer: httpx.Response, began: float) -> None:
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "store_unavailable"
    assert int(answer.headers["retry-after"]) >= 1
    assert time.monotonic() - began < 2 * TIMEOUT + SLACK


@pytest.mark.parametrize("how", ["freeze", "kill"])
async def test_without_the_database_requests_get_503_in_time_and_recover_afterwards(
    gateway: Gateway, alice: User, mongo_server: StoreServer, how: str
) -> None:
    first = await submit(gateway, alice)
    assert first.status_code == 200
    getattr(mongo_server, how)()
    for method, path in (("POST", "/task"), ("GET", "/image")):
        began = time.monotonic()
        answer = await gateway.ask(method, path, alice, json=samples.submission() if method == "POST" else None)
        assert_unavailable(answer, began)
    assert (await gateway.ask("GET", "/ping")).status_code == 200
    assert (await gateway.http.get("/health")).status_code == 503
    mongo_server.thaw()
    mongo_server.start()

    async def works() -> bool:
        return (await submit(gateway, alice)).status_code == 200

    await waiting.until(works, "tasks are taken again")
    assert (await gateway.ask("GET", f"/task/{first.json()['id']}", alice)).status_code == 200


async def test_a_task_answered_200_survives_a_crash_of_the_database(
    gateway: Gateway, alice: User, mongo_server: StoreServer
) -> None:
    """Submissions go on while mongod is killed: a 200 is durable, anything else is a 503."""
    answered: list[int] = []
    refused: list[int] = []  # statuses of the answers
    stop = asyncio.Event()

    async def client() -> None:
        while not stop.is_set():
            answer = await submit(gateway, alice)
            if answer.status_code == 200:
                answered.append(answer.json()["id"])
            else:
                refused.append(answer.status_code)

    clients = [asyncio.create_task(client()) for _ in range(4)]
    await waiting.until(lambda: len(answered) >= 20, "tasks are taken")
    await asyncio.to_thread(mongo_server.kill)
    await asyncio.to_thread(mongo_server.start)
    before = len(answered)
    await waiting.until(lambda: len(answered) >= before + 20, "tasks are taken again")
    stop.set()
    await asyncio.gather(*clients)
    assert set(refused) <= {503}
    assert len(answered) == len(set(answered))
    stored = {document["_id"] async for document in gateway.stores.database["tasks"].find({}, {"_id": 1})}
    assert set(answered) <= stored


async def test_a_store_that_hangs_is_unavailable_within_its_time_and_recovers_by_itself(
    settings: Settings, mongo_server: StoreServer
) -> None:
    async with stores.connect(settings.model_copy(update={"mongo_timeout": TIMEOUT})) as opened:
        await opened.ping()
        mongo_server.freeze()
        began = time.monotonic()
        answers = await asyncio.gather(
            opened.ping(),
            opened.views.get(1),
            opened.tasks.reserve_ids(1),
            opened.leases.acquire("x", "a", seconds=5),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [errors.StoreUnavailable] * 4
        assert time.monotonic() - began < TIMEOUT + SLACK
        mongo_server.thaw()
        await opened.ping()
        assert await opened.tasks.reserve_ids(1) >= 1


@pytest.mark.parametrize("how", ["stop", "freeze"])
async def test_without_redis_tasks_are_taken_and_users_logged_in(
    gateway: Gateway, alice: User, redis_server: StoreServer, how: str
) -> None:
    getattr(redis_server, how)()
    answer = await submit(gateway, alice)
    assert answer.status_code == 200
    assert (await gateway.task(answer.json()["id"])).status is TaskStatus.PENDING
    assert (await gateway.ask("DELETE", f"/task/{answer.json()['id']}", alice)).status_code == 200
    log_in = await gateway.ask("POST", "/authenticate", json={"user": "alice", "apikey": gateway.keys["alice"]})
    assert log_in.status_code == 200
    health = await gateway.http.get("/health")
    assert health.status_code == 503
    assert not health.json()["dependencies"]["redis"]["ok"]
    assert health.json()["dependencies"]["mongo"]["ok"]


async def test_services_continue_when_the_database_is_back(scene: Scene, mongo_server: StoreServer) -> None:
    """The database is killed while tasks wait, run and end; none is lost, none runs twice."""
    scene.settings = scene.settings.model_copy(update={"mongo_timeout": TIMEOUT})
    numbers = range(1, 21)
    for number in numbers:
        await scene.add(number, cmd="sleep 0.2", cpu=2.0)
    async with stores.connect(scene.settings) as opened:
        scene.stores = opened
        async with scene.running():
            await waiting.until(lambda: len(scene.executor.starts) >= 4, "the first have started")
            await asyncio.to_thread(mongo_server.kill)
            await asyncio.to_thread(mongo_server.start)
            await scene.until(TaskStatus.OVER, *numbers, timeout=60)
            await scene.settled(*numbers)
        assert sorted(handle.task_id for handle in scene.executor.starts) == list(numbers)
        for number in numbers:
            task = await scene.task(number)
            assert (task.exit_code, task.attempt) == (0, 1)
            assert [row.attempt for row in await opened.usage.of_task(number)] == [1]
