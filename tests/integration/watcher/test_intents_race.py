"""Intents that race with starts, ends and each other, on real stores: in any order, the result is allowed."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter, defaultdict
from contextlib import AsyncExitStack

import pytest

from shared import clock
from shared.lifecycle import ACTIVE, Ending, Intent, TaskStatus
from shared.models.task import Task
from tests.integration.conftest import Scene
from tests.support import samples, waiting

pytestmark = pytest.mark.stores

LONG = bool(os.environ.get("GODOCKER_LONG_TESTS"))
SEEDS = range(20 if LONG else 3)
TASKS = 24
WISHES = 70
SECONDS = 1.5  #: in which the intents come
RUNNING = [TaskStatus.RUNNING]


class Owner:
    """An owner who requests one intent after the other, and remembers when kills were accepted."""

    def __init__(self, scene: Scene, chance: random.Random) -> None:
        self._scene = scene
        self._chance = chance
        self.killed: dict[int, float] = {}  #: when the first kill of a task was answered
        self.killed_waiting: dict[int, int] = {}  #: the attempt of tasks that were not placed at that time

    async def want(self) -> None:
        """Write one intent of one task like the gateway."""
        task_id = self._chance.randint(1, TASKS)
        intent = self._chance.choice([Intent.KILL, Intent.KILL, Intent.SUSPEND, Intent.RESUME, Intent.RESCHEDULE])
        statuses = sorted(ACTIVE) if intent is Intent.KILL else RUNNING
        task = await self._scene.stores.tasks.ask(task_id, intent, at=clock.now(), statuses=statuses)
        if task is not None and intent is Intent.KILL:
            self.killed.setdefault(task_id, clock.now())
            if task.status is TaskStatus.PENDING:
                self.killed_waiting.setdefault(task_id, task.attempt)
        if self._chance.random() < 0.5:  # the hint is lost otherwise
            await self._scene.broker.tell_watcher_asked()

    async def want_all(self) -> None:
        for _ in range(WISHES):
            await self.want()
            await asyncio.sleep(self._chance.uniform(0, 2 * SECONDS / WISHES))

    async def let_go(self) -> bool:
        """Resume all suspended tasks. Return whether all tasks are over."""
        tasks = [await self._scene.task(task_id) for task_id in range(1, TASKS + 1)]
        for task in tasks:
            if task.status is TaskStatus.RUNNING and task.intent is None:
                await self._scene.stores.tasks.ask(task.id, Intent.RESUME, at=clock.now(), statuses=RUNNING)
        return all(task.status is TaskStatus.OVER and task.settled for task in tasks)


@pytest.mark.timeout(1200 if LONG else 200)
@pytest.mark.parametrize("seed", SEEDS)
async def test_every_task_ends_in_an_allowed_way_whatever_its_intents(scene: Scene, seed: int) -> None:
    chance = random.Random(seed)
    scene.executor.reports = {name: samples.report(name, cpus=6) for name in ("node1", "node2")}
    for task_id in range(1, TASKS + 1):
        seconds, code = chance.choice([0.0, 0.05, 0.3, 1.0]), chance.choice([0, 3])
        ignores = chance.choice(["", "trap '' TERM\n"])
        await scene.add(task_id, cmd=f"{ignores}sleep {seconds}\nexit {code}", name=str(code))
    owner = Owner(scene, chance)
    async with scene.running(scene.watcher(), scene.watcher()):
        wanting = asyncio.create_task(owner.want_all(), name="owner")
        while not wanting.done():
            # The scheduler comes and goes meanwhile.
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(scene.running(scene.scheduler()))
                await asyncio.wait({wanting}, timeout=chance.uniform(0.2, 0.8))
            await asyncio.wait({wanting}, timeout=chance.uniform(0, 0.3))
        await wanting
        async with scene.running(scene.scheduler()):
            await waiting.until(owner.let_go, "every task is over and settled", timeout=60, interval=0.2)
    await check(scene, owner)


async def check(scene: Scene, owner: Owner) -> None:
    starts: defaultdict[int, list[int]] = defaultdict(list)
    for handle in scene.executor.starts:
        starts[handle.task_id].append(handle.attempt)
    assert not scene.executor.alive
    for task_id in range(1, TASKS + 1):
        task = await scene.task(task_id)
        assert problems(task, owner, starts[task_id]) == []
        rows = Counter(row.attempt for row in await scene.stores.usage.of_task(task_id))
        assert set(rows.values()) <= {1}
        assert set(rows) >= set(starts[task_id]), (
            f"task {task_id} ran {starts[task_id]} and was charged for {set(rows)}"
        )


def problems(task: Task, owner: Owner, starts: list[int]) -> list[str]:
    """Return what is not allowed about a task's end."""
    killed_at = owner.killed.get(task.id)
    statuses = [entry["status"] for entry in task.history]
    after = [entry for entry in task.history if killed_at is not None and entry["at"] > killed_at]
    found = {
        "it is not over once": statuses.count("over") != 1 or statuses[-1] != "over",
        "something is still wanted of it": task.intent is not None,
        "an attempt ran twice": len(starts) != len(set(starts)),
        "an attempt ran that is not recorded": any(attempt > task.attempt for attempt in starts),
        "it was placed after it was killed": any(entry["status"] == "starting" for entry in after),
        "it went on after it was killed while it waited": task.attempt
        != owner.killed_waiting.get(task.id, task.attempt),
        "it was killed and nobody wanted it": killed_at is None and task.ending is not Ending.EXITED,
        "it has another code": task.exit_code != (int(task.spec.name) if task.ending is Ending.EXITED else 137),
        "it ended in no allowed way": task.ending not in (Ending.EXITED, Ending.KILLED),
    }
    return [f"task {task.id}: {what} ({task.ending}, {statuses})" for what, wrong in found.items() if wrong]
