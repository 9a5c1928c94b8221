"""Arrays on real stores: accepted as one document, made as they are placed, acted on as a whole or in part, and ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.scheduler import arrays as scheduling
from services.scheduler.service import SchedulerService
from shared import clock
from shared.lifecycle import ACTIVE, Ending, TaskStatus
from shared.models.task import Task
from shared.models.user import User
from tests.integration.conftest import Scene
from tests.support import samples, waiting
from tests.support.gateway import Gateway

pytestmark = pytest.mark.stores

OVER = TaskStatus.OVER


class Arrays:
    """A user who sends arrays, and what became of them."""

    def __init__(self, scene: Scene, gateway: Gateway, user: User) -> None:
        self.scene = scene
        self.gateway = gateway
        self.user = user
        self.stores = scene.stores

    async def send(self, values: Any, *, cmd: str = "exit 0", **changes: Any) -> int:
        """An array, as the scheduler hears of it; returns the parent's id."""
        task_id = await self.sent(**{"requirements.array.values": values, "command.cmd": cmd, **changes})
        await self.scene.broker.enqueue([task_id])
        return task_id

    async def sent(self, **changes: Any) -> int:
        body = samples.submission(**{"requirements.network": None, "container.network": False, **changes})
        answer = await self.gateway.ask("POST", "/task", self.user, json=body)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["id"])

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        answer = await self.gateway.ask(method, path, self.user, **options)
        assert answer.status_code == 200, answer.text
        await self.tell()
        return answer.json()

    async def refused(self, method: str, path: str, status: int, **options: Any) -> Any:
        answer = await self.gateway.ask(method, path, self.user, **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def tell(self) -> None:
        """What a gateway's loop of hints does."""
        await self.gateway.here.hints._send()

    async def children(self, parent: int) -> list[Task]:
        cursor = self.stores.database["tasks"].find({"member.parent": parent}).sort("_id", 1)
        return [Task.model_validate(document) async for document in cursor]

    async def over(self, *task_ids: int) -> Task:
        return await self.scene.until(OVER, *task_ids, timeout=60)


@pytest.fixture
async def world(scene: Scene, gateway: Gateway) -> AsyncIterator[Arrays]:
    yield Arrays(scene, gateway, await gateway.add_user("alice"))


def indices(parent: Task) -> list[int]:
    assert parent.array is not None
    return list(parent.array.indices)


# --- a whole life ------------------------------------------------------------------------------------


async def test_an_array_goes_all_the_way(world: Arrays) -> None:
    parent = await world.send("2:20:3")
    assert await world.children(parent) == []
    async with world.scene.running():
        ended = await world.over(parent)
    children = await world.children(parent)
    assert [child.id for child in children] == list(range(parent + 1, parent + 8))
    assert [child.member.index for child in children if child.member] == [2, 5, 8, 11, 14, 17, 20]
    assert {(child.status, child.exit_code, child.attempt) for child in children} == {(OVER, 0, 1)}
    assert (ended.ending, ended.exit_code, ended.reason, ended.attempt) == (Ending.EXITED, 0, None, 0)
    assert ended.array is not None
    assert (ended.array.made, ended.array.over) == (7, 7)
    assert len(world.scene.executor.starts) == 7
    assert await world.sent() == parent + 8
