"""The stores and the broker of a test, opened as a service opens them; users of its gateway; services on the stores."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from godocker.docker.local_engine import LocalEngine
from services.scheduler.service import SchedulerService
from services.watcher.service import WatcherService
from shared import clock, errors
from shared.broker import broker
from shared.executors import factory, fake, types
from shared.lifecycle import ACTIVE, Intent, TaskStatus
from shared.models.task import Task
from shared.models.user import User
from shared.settings import Node, Settings
from shared.store import indexes, stores
from tests.support import samples, waiting
from tests.support.harness.gateway import Gateway


@pytest.fixture
async def opened(settings: Settings) -> AsyncIterator[stores.Stores]:
    """Empty stores, without indexes: making them takes longer than most tests."""
    async with stores.connect(settings) as opened:
        yield opened


@pytest.fixture
async def indexed(opened: stores.Stores) -> stores.Stores:
    """Empty stores as they are after a service has started."""
    await opened.ensure_indexes()
    return opened


@pytest.fixture
async def hints(settings: Settings) -> AsyncIterator[broker.Broker]:
    async with broker.connect(settings) as connected:
        yield connected


@pytest.fixture
async def alice(gateway: Gateway) -> User:
    return await gateway.add_user("alice")


@pytest.fixture
async def bob(gateway: Gateway) -> User:
    return await gateway.add_user("bob")


@pytest.fixture
async def admin(gateway: Gateway) -> User:
    return await gateway.add_user("admin", admin=True)


class Scene:
    """Schedulers and watchers in this process, on real stores and a fake executor that a test interferes with."""

    def __init__(self, settings: Settings, opened: stores.Stores, hints: broker.Broker) -> None:
        self.settings = settings
        self.stores = opened
        self.broker = hints
        self.executor = fake.FakeExecutor()

    def scheduler(self) -> SchedulerService:
        return SchedulerService(self.settings, self.stores, self.broker, self.executor)

    def watcher(self) -> WatcherService:
        return WatcherService(self.settings, self.stores, self.broker, self.executor)

    @asynccontextmanager
    async def running(self, *services: SchedulerService | WatcherService) -> AsyncIterator[None]:
        """The services (by default one of each), told to stop at the end."""
        stop = asyncio.Event()
        chosen = services or (self.scheduler(), self.watcher())
        work = [asyncio.create_task(service.run(stop), name=type(service).__name__) for service in chosen]
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(asyncio.gather(*work), 30)

    async def add(self, task_id: int = 1, *args: Any, **fields: Any) -> types.Handle:
        """A task that runs as somebody whom this process can give files to; returns the handle of its first attempt."""
        task = samples.task(task_id, *args, **{"at": clock.now(), **fields})
        if os.geteuid() != 0:
            task.user.uid, task.user.gid = os.geteuid(), os.getegid()
        await self.stores.tasks.insert([task])
        return types.Handle(samples.NODE, task_id, 1)

    async def task(self, task_id: int = 1) -> Task:
        found = await self.stores.views.get(task_id)
        assert found is not None
        return found

    async def kill(self, task_id: int = 1) -> None:
        """The owner wants it killed, as the gateway writes it."""
        await self.stores.tasks.ask(task_id, Intent.KILL, at=clock.now(), statuses=sorted(ACTIVE))
        with contextlib.suppress(errors.BrokerUnavailable):
            await self.broker.tell_watcher_asked()

    async def until(self, status: TaskStatus, *task_ids: int, timeout: float = waiting.TIMEOUT) -> Task:
        """Wait until the tasks (by default number 1) are there; returns the last."""
        for task_id in task_ids or (1,):

            async def there(task_id: int = task_id) -> Task | None:
                task = await self.task(task_id)
                return task if task.status is status else None

            found = await waiting.until(there, f"task {task_id} is {status.value}", timeout=timeout)
        return found

    async def settled(self, *task_ids: int) -> None:
        """Wait until the ends are counted and the runs removed."""

        async def done() -> bool:
            tasks = [await self.task(task_id) for task_id in task_ids or (1,)]
            return all(task.status is TaskStatus.OVER and task.settled for task in tasks)

        await waiting.until(done, f"tasks {task_ids or (1,)} are settled")


@asynccontextmanager
async def on_docker(
    scene: Scene, engine: LocalEngine, *, url: str | None = None, **config: Any
) -> AsyncIterator[Scene]:
    """The scene's scheduler and watcher, running on the engine, which is reached at `url`; `config` are settings."""
    node = Node(name="n1", url=url or engine.url, cpus=512, memory=64)
    scene.settings = scene.settings.model_copy(update={"executor": "docker", "nodes": [node], **config})
    fake_executor, executor = scene.executor, factory.build(scene.settings)
    scene.executor = executor  # type: ignore[assignment]
    try:
        async with scene.running():
            yield scene
    finally:
        await executor.close()
        scene.executor = fake_executor
        engine.remove_containers()


@pytest.fixture
async def scene(
    settings: Settings, opened: stores.Stores, hints: broker.Broker, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    monkeypatch.setattr(broker, "LISTEN", 0.05)  # who listens hears the stop no later
    await opened.database["tasks"].create_indexes(indexes.INDEXES["tasks"])
    made = Scene(settings, opened, hints)
    yield made
    await made.executor.close()
