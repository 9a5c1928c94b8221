"""A replica set of three whose primary fails: requests succeed again soon, and none is lost or doubled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import pymongo
import pytest

from shared.models.user import User
from shared.settings import Settings
from shared.store import stores
from shared.store.system import replica_set
from tests.conftest import FIGURES
from tests.support import samples, waiting
from tests.support.harness import gateway as gateways
from tests.support.harness.gateway import Gateway
from tests.support.servers import replica_set as replicas

pytestmark = [pytest.mark.stores, pytest.mark.timeout(240)]

SENDERS = 4
BEFORE = AFTER = 20  #: tasks
PATIENCE = 60.0  #: seconds, on a machine that is busy
LIMIT = 15.0  #: seconds for which a pause may last where the machine has time


@pytest.fixture(scope="module")
def members() -> Iterator[replicas.ReplicaSet]:
    with replicas.running(replica_set.SETTINGS) as made:
        yield made


@pytest.fixture
def whole(members: replicas.ReplicaSet) -> Iterator[replicas.ReplicaSet]:
    members.wait_whole()
    yield members
    members.mend()


class Senders:
    """Clients that send each task under its key until it is accepted."""

    def __init__(self, gateway: Gateway, by: User) -> None:
        self.ids: dict[str, int] = {}  #: ids of the tasks, by their keys
        self.answered_at: list[float] = []
        self.statuses: set[int] = set()
        self._gateway, self._by = gateway, by
        self._stop = asyncio.Event()
        self._work = [asyncio.create_task(self._send(number), name=f"sender-{number}") for number in range(SENDERS)]

    async def finish(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._work)

    def longest_pause(self) -> float:
        """Return the longest time in seconds between two accepted tasks."""
        return max(later - earlier for earlier, later in zip(self.answered_at, self.answered_at[1:], strict=False))

    async def _send(self, number: int) -> None:
        sent = 0
        while not self._stop.is_set():
            key = f"sender-{number}-task-{sent}"
            while key not in self.ids:
                answer = await self._gateway.ask(
                    "POST", "/task", self._by, json=samples.submission(), headers={"Idempotency-Key": key}
                )
                self.statuses.add(answer.status_code)
                if answer.status_code == 200:
                    self.ids[key] = answer.json()["id"]
                    self.answered_at.append(time.monotonic())
                else:
                    await asyncio.sleep(0.1)
            sent += 1


@pytest.mark.parametrize("failure", ["step_down", "kill", "hang"])
async def test_after_a_failure_of_the_primary_all_tasks_are_there_once(
    settings: Settings,
    whole: replicas.ReplicaSet,
    failure: str,
    record_property: Callable[[str, object], None],
) -> None:
    assert whole.settings().items() >= replica_set.SETTINGS.items()
    config = settings.model_copy(update={"mongo_url": whole.url, "mongo_timeout": Settings().mongo_timeout})
    async with stores.connect(config) as opened:
        await opened.ensure_indexes()
    async with gateways.opened(config) as gateway:
        senders = Senders(gateway, await gateway.add_user("alice"))
        await waiting.until(lambda: len(senders.ids) >= BEFORE, "tasks are taken", timeout=PATIENCE)
        await asyncio.to_thread(getattr(whole, failure))
        failed_at, before = time.monotonic(), len(senders.ids)
        await waiting.until(lambda: len(senders.ids) >= before + AFTER, "tasks are taken again", timeout=PATIENCE)
        await senders.finish()
        stored = [document["_id"] async for document in gateway.stores.database["tasks"].find({}, {"_id": 1})]
        assert sorted(senders.ids.values()) == sorted(stored)
        assert senders.statuses <= {200, 503}
        assert senders.answered_at[-1] > failed_at
    with pymongo.MongoClient(whole.url, serverSelectionTimeoutMS=20_000) as client:
        client.drop_database(config.mongo_db)
    pause = senders.longest_pause()
    record_property(FIGURES, f"{len(stored)} tasks, none lost or doubled, longest pause {pause:.1f} s")
    assert pause < 2 * LIMIT
