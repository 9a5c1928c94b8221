"""Tasks that no node could ever take end after `unplaceable_after`, even across leaders; no other tasks end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from services.scheduler import unplaceable
from services.scheduler.unplaceable import GAP
from shared.broker.broker import Broker
from shared.executors.types import NodeReport
from shared.lifecycle import Ending, Intent, TaskStatus
from shared.models.task import Task
from shared.models.user import User
from shared.settings import Settings
from shared.store.stores import Stores
from tests.integration.conftest import Scene
from tests.support import samples
from tests.support.harness.gateway import Gateway
from tests.support.harness.stepped import Stepped

pytestmark = pytest.mark.stores

HOUR = 3600.0
AFTER = 24 * HOUR
STEP = GAP / 2
SMALL = samples.report("n1", cpus=4, gb=8)
LARGE = samples.report("n2", cpus=16, gb=8)


class World:
    """A system that is advanced step by step, with one user."""

    def __init__(self, system: Stepped, alice: User) -> None:
        self.system = system
        self.stores = system.stores
        self.alice = alice

    async def send(self, cpus: int = 9, **changes: Any) -> int:
        plain = {"requirements.cpu": cpus, "requirements.ram": 1, "requirements.network": None}
        body = samples.submission(**{**plain, "container.network": False, "command.cmd": "sleep 86400", **changes})
        answer = await self.system.gateway.ask("POST", "/task", self.alice, json=body)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["id"])

    async def check(self) -> set[int]:
        await self.system.look()
        scheduler = self.system.scheduler
        return await scheduler._unplaceable.check(lambda: scheduler._has_taken_over)

    async def advance(self, seconds: float) -> set[int]:
        """Let time pass with regular checks, and return the tasks that these ended."""
        ended: set[int] = set()
        for _ in range(round(seconds / STEP)):
            self.system.time.go_on(STEP)
            ended |= await self.check()
        return ended

    async def task(self, task_id: int) -> Task:
        return await self.system.gateway.task(task_id)


async def _begun(system: Stepped, nodes: Sequence[NodeReport] = (SMALL,), **settings: Any) -> World:
    await system.begin(nodes, **{"unplaceable_after": AFTER, **settings})
    return World(system, await system.gateway.add_user("alice"))


@pytest.fixture
async def system(
    settings: Settings, indexed: Stores, hints: Broker, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stepped]:
    made = Stepped(settings, indexed, hints, gateway, monkeypatch)
    yield made
    await made.end()


async def test_a_task_that_can_never_run_ends_after_that_time_with_the_reason_and_not_before(system: Stepped) -> None:
    world = await _begun(system)
    hopeless, waits = await world.send(9), await world.send(3, **{"status.primary": "created"})
    follower = await world.send(1, **{"requirements.depends": {"afterok": [hopeless]}})
    assert await world.check() == set()
    assert await world.advance(AFTER - STEP) == set()
    assert (await world.task(hopeless)).status is TaskStatus.PENDING
    assert await world.advance(STEP) == {hopeless}
    task = await world.task(hopeless)
    assert (task.status, task.ending, task.exit_code, task.settled) == (
        TaskStatus.OVER,
        Ending.START_FAILED,
        None,
        True,
    )
    assert task.reason is not None
    assert task.reason.startswith("can never run here: needs 9 cpu")
    assert task.reason.endswith("it was ended since that did not change for 1 day")
    assert (await world.task(waits)).status is TaskStatus.CREATED
    await system.quiet()
    assert (await world.task(follower)).ending is Ending.DEPENDENCY_FAILED
    assert await world.advance(AFTER) == set()


async def test_each_task_has_a_time_of_its_own_even_if_it_is_not_offered(system: Stepped) -> None:
    world = await _begun(system)
    first = await world.send(9)
    await world.check()
    await world.advance(AFTER / 2)
    second = await world.send(9)
    third = await world.send(9, **{"requirements.depends": {"afterany": [first, second]}})
    assert await world.advance(AFTER / 2) == {first}
    assert await world.advance(AFTER / 2) == {second, third}


async def test_children_of_an_array_end_and_then_their_parent(system: Stepped) -> None:
    world = await _begun(system)
    parent = await world.send(9, **{"requirements.array": {"values": "1:3"}})
    await system.quiet()
    assert await world.advance(AFTER + STEP) == {parent + 1, parent + 2, parent + 3}
    await system.quiet()
    assert (await world.task(parent)).status is TaskStatus.OVER


async def test_another_scheduler_continues_to_count(system: Stepped) -> None:
    world = await _begun(system)
    hopeless = await world.send()
    await world.check()
    for _ in range(4):
        assert await world.advance(AFTER / 5) == set()
        await system.lead()
    assert await world.advance(AFTER / 5) == {hopeless}


async def test_after_a_long_gap_without_checks_the_time_begins_again(system: Stepped) -> None:
    world = await _begun(system)
    hopeless = await world.send()
    await world.check()
    system.time.go_on(10 * AFTER)
    assert await world.check() == set()
    assert await world.advance(AFTER - STEP) == set()
    assert await world.advance(STEP) == {hopeless}


async def test_a_node_that_could_take_the_task_makes_the_time_begin_again(system: Stepped) -> None:
    world = await _begun(system, [SMALL, LARGE])
    blocker = await world.send(16)
    await system.quiet()
    assert (await world.task(blocker)).status is TaskStatus.RUNNING
    waiting = await world.send(9)
    await world.check()
    assert await world.advance(2 * AFTER) == set(), "a node is full, and could take it"
    system.executor.faults.down["n2"] = "no route to it"
    assert await world.advance(AFTER) == set(), "a silent node keeps its size"
    del system.executor.reports["n2"]
    await world.check()
    assert await world.advance(AFTER - STEP) == set()
    assert await world.advance(2 * STEP) == {waiting}


async def test_a_node_that_was_never_seen_rules_nothing_out(system: Stepped) -> None:
    world = await _begun(system, [SMALL, LARGE])
    system.executor.faults.down["n2"] = "no route to it"
    await system.lead()
    await world.send()
    await world.check()
    assert await world.advance(2 * AFTER) == set()


@pytest.mark.parametrize("nodes", [[], [SMALL]])
async def test_without_the_setting_or_without_nodes_such_tasks_keep_waiting(
    system: Stepped, nodes: list[NodeReport]
) -> None:
    world = await _begun(system, nodes, unplaceable_after=None if nodes else AFTER)
    await world.send()
    await world.check()
    assert await world.advance(3 * AFTER) == set()


async def test_a_task_that_is_to_be_killed_meanwhile_is_killed(system: Stepped) -> None:
    world = await _begun(system)
    task_id = await world.send()
    await world.check()
    await world.advance(AFTER - STEP)
    system.time.go_on(STEP)
    scheduler = system.scheduler
    await system.stores.tasks.ask(task_id, Intent.KILL, at=samples.NOW, statuses=[TaskStatus.PENDING], by="alice")
    assert await scheduler._unplaceable.check(lambda: scheduler._has_taken_over) == set()
    await system.quiet()
    assert (await world.task(task_id)).ending is Ending.KILLED


async def test_a_scheduler_that_does_not_lead_ends_nothing(system: Stepped) -> None:
    world = await _begun(system)
    await world.send()
    await world.check()
    await world.advance(AFTER - STEP)
    system.time.go_on(STEP)
    assert await system.scheduler._unplaceable.check(lambda: False) == set()


async def test_places_of_users_are_free_again(system: Stepped) -> None:
    world = await _begun(system)
    system.gateway.settings.__dict__["rate_limit"] = 1
    await world.send()
    await world.check()
    answer = await system.gateway.ask("POST", "/task", world.alice, json=samples.submission())
    assert answer.status_code == 429, answer.text
    await world.advance(AFTER)
    await world.send()


@pytest.mark.parametrize(
    "stored", [{"since": "x", "at": 1}, {"since": 0.0, "at": None}, {}, {"since": 9e9, "at": 50.0}]
)
async def test_invalid_stored_entries_are_ignored(indexed: Stores, stored: dict[str, Any]) -> None:
    await indexed.database["unplaceable"].insert_one({"_id": "cpu=9", **stored})
    assert await indexed.unplaceable.note(["cpu=9"], now=100.0, gap=GAP) == {"cpu=9": 100.0}
    assert await indexed.unplaceable.note(["cpu=9"], now=200.0, gap=GAP) == {"cpu=9": 100.0}
    assert await indexed.unplaceable.note([], now=200.0, gap=GAP) == {}
    assert await indexed.database["unplaceable"].count_documents({}) == 0


async def test_a_running_scheduler_checks_by_itself(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unplaceable, "EVERY", 0.1)
    scene.settings = scene.settings.model_copy(update={"unplaceable_after": 0.5})
    await scene.add(1, cpu=9.0, shape="cpu=9")
    await scene.add(2, cpu=1.0, cmd="sleep 600")
    await scene.broker.enqueue([1, 2])
    async with scene.running():
        await scene.until(TaskStatus.RUNNING, 2)
        task = await scene.until(TaskStatus.OVER, 1)
        assert task.ending is Ending.START_FAILED
        assert (await scene.task(2)).status is TaskStatus.RUNNING
