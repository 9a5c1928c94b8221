"""Quotas on real stores: placements never exceed them, even with several schedulers at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.scheduler.quota_gate import Candidate, QuotaGate
from shared import clock
from shared.lifecycle import Ending, TaskStatus
from shared.models.project import Project
from shared.models.quota import Amounts, Scope, ScopeKind, scopes_of
from shared.models.transitions import Transition
from shared.models.usage import UsageRow, row_id
from shared.models.work import Pending
from shared.settings import Settings
from shared.store import stores
from tests.integration.conftest import Scene
from tests.support import samples, waiting

pytestmark = pytest.mark.stores

ALICE = Scope(ScopeKind.USER, "alice")
LAB = Scope(ScopeKind.PROJECT, "lab")


async def limit_user(opened: stores.Stores, name: str = "alice", **quotas: float) -> None:
    user = samples.user(name)
    await opened.users.add(user.model_copy(update={"usage": user.usage.model_copy(update=quotas)}))


async def limit_project(opened: stores.Stores, name: str = "lab", **quotas: float) -> None:
    await opened.projects.add(Project(id=name, members=["alice", "bob"], **quotas))


async def add(opened: stores.Stores, count: int, *, first: int = 1, **fields: Any) -> list[Candidate]:
    """Store pending tasks and return a candidate for each."""
    tasks = [samples.task(number, **fields) for number in range(first, first + count)]
    await opened.tasks.insert(tasks)
    return [candidate(task) for task in await opened.work.pending_of([task.id for task in tasks])]


def candidate(task: Pending) -> Candidate:
    where = {"node": samples.NODE, "executor": "fake", "at": clock.now(), "epoch": 1}
    return Candidate(
        task,
        Transition(
            task.id,
            task.attempt,
            TaskStatus.PENDING,
            TaskStatus.STARTING,
            at=clock.now(),
            fields={"placement": where},
            next_attempt=task.attempt + 1,
        ),
    )


def row(number: int, *, ended_at: float | None = None, seconds: float = 10, **fields: Any) -> UsageRow:
    end = clock.now() if ended_at is None else ended_at
    values = {
        "id": row_id(number, 1),
        "task": number,
        "attempt": 1,
        "user": "alice",
        "project": "default",
        "cpu": 1,
        "ram": 1,
        "started_at": end - seconds,
        "ended_at": end,
        "seconds": seconds,
        "day": clock.day(end),
    }
    return UsageRow(**{**values, **fields})


async def test_only_scopes_with_a_quota_are_limited(indexed: stores.Stores) -> None:
    await limit_user(indexed, "alice", quota_cpu=5)
    await limit_user(indexed, "bob")
    await limit_project(indexed, "lab", quota_gpu=2)
    await limit_project(indexed, "free")
    assert {scope: quota.limit for scope, quota in (await indexed.quotas.limits()).items()} == {
        ALICE: Amounts(cpu=5),
        LAB: Amounts(gpus=2),
    }
    assert list(await indexed.quotas.limits([ALICE, Scope(ScopeKind.USER, "bob")])) == [ALICE]


async def test_usage_of_a_quota_is_the_window_plus_running_tasks(indexed: stores.Stores) -> None:
    await limit_user(indexed, quota_cpu=5)
    now = clock.now()
    await indexed.usage.add_many(
        [row(101, cpu=2, ram=3), row(102, gpus=1), row(103, user="bob"), row(104, ended_at=now - 40 * 86400)]
    )
    running = samples.task(1, TaskStatus.RUNNING, cpu=4, ram=2, placement=samples.placement(), started_at=now - 100)
    counted = samples.task(2, TaskStatus.OVER, started_at=now - 50, ended_at=now - 20, settled=False)
    done = samples.task(3, TaskStatus.OVER, started_at=now - 50, ended_at=now - 20, settled=True)
    waiting = samples.task(4)
    await indexed.tasks.insert([running, counted, done, waiting])
    taken = (await indexed.quotas.taken(await indexed.quotas.limits()))[ALICE]
    assert taken.finished == Amounts(cpu=3, ram=4, gpus=1, seconds=20)
    assert (taken.held.cpu, taken.held.ram) == (5, 3)
    assert taken.held.seconds == pytest.approx(130, abs=20)


async def test_a_projects_quota_counts_from_its_last_reset(indexed: stores.Stores) -> None:
    now = clock.now()
    await limit_project(indexed, quota_cpu=5, usage_since=now - 100)
    await indexed.usage.add_many(
        [row(1, project="lab"), row(2, project="lab", ended_at=now - 200), row(3, project="other")]
    )
    assert (await indexed.quotas.taken(await indexed.quotas.limits()))[LAB].finished.cpu == 1


async def test_placements_beyond_a_quota_wait_and_those_without_a_quota_do_not(indexed: stores.Stores) -> None:
    await limit_user(indexed, quota_cpu=3)
    gate = QuotaGate(indexed)
    wants = [*await add(indexed, 5), *await add(indexed, 2, first=11, user="bob")]
    assert await gate.place(wants) == {1, 2, 3, 11, 12}
    large, small = samples.pending(user="alice"), samples.pending(user="alice", cpus=0)
    assert [excess.text for excess in gate.excesses_of(large)] == [
        "the cpu quota of user alice: 0 of 3 used, 3 held by tasks that run, 1 needed"
    ]
    assert gate.is_held(large)
    assert not gate.is_held(small)
    assert not gate.is_held(samples.pending(user="bob"))


async def test_a_task_that_a_used_up_quota_never_allows_ends(indexed: stores.Stores) -> None:
    await limit_user(indexed, quota_cpu=3)
    await indexed.usage.add_many([row(101, cpu=3)])
    gate = QuotaGate(indexed)
    assert await gate.place(await add(indexed, 1)) == set()
    task = await indexed.views.get(1)
    assert task is not None
    assert (task.status, task.ending, task.attempt, task.settled) == (TaskStatus.OVER, Ending.QUOTA_REACHED, 0, True)
    assert task.reason == "the cpu quota of user alice: 3 of 3 used, 1 needed"
    assert not gate.is_held(samples.pending(user="alice"))


async def test_two_schedulers_at_once_never_exceed_a_quota(settings: Settings, indexed: stores.Stores) -> None:
    await limit_user(indexed, quota_cpu=40)
    await limit_user(indexed, "bob", quota_ram=25)
    await limit_project(indexed, quota_cpu=50)
    wants = []
    for number, (user, project) in enumerate(
        [("alice", "lab"), ("bob", "lab"), ("alice", "default"), ("carol", "lab")]
    ):
        wants += await add(indexed, 50, first=1000 * number + 1, user=user, project=project)
    highest: dict[str, float] = {"alice": 0, "bob": 0, "lab": 0}
    done = asyncio.Event()

    async def look() -> None:
        while not done.is_set():
            placed = await indexed.work.placed()
            for name, key in (("alice", "user"), ("bob", "user"), ("lab", "project")):
                mine = sum(task.cpus for task in placed if getattr(task, key) == name)
                highest[name] = max(highest[name], mine)

    async with stores.connect(settings) as other:
        looking = asyncio.create_task(look(), name="look")
        gates = [QuotaGate(indexed), QuotaGate(other)]
        # Both want all of it, in pieces that cross: what one wins the other loses.
        pieces = [wants[start::8] for start in range(8)]
        rounds = [
            gate.place(piece) for gate, order in zip(gates, (pieces, pieces[::-1]), strict=True) for piece in order
        ]
        won = await asyncio.gather(*rounds)
        done.set()
        await looking
    placed = await indexed.work.placed()
    mine = {name: sum(1 for task in placed if name in (task.user, task.project)) for name in highest}
    assert sum(map(len, won)) == len(placed)
    assert mine["lab"] == 50, "the project's quota is used up to the last core"
    assert mine["alice"] <= 40
    assert mine["bob"] <= 25
    assert highest["lab"] <= 50
    assert highest["alice"] <= 40
    assert highest["bob"] <= 25


# --- while they run -----------------------------------------------------------------------


async def test_a_running_task_ends_when_the_time_quota_is_used_up(scene: Scene) -> None:
    await limit_user(scene.stores, quota_time=30)
    await scene.stores.usage.add_many([row(101, seconds=29)])
    await scene.add(1, cmd="sleep 600")
    await scene.add(2, cmd="sleep 600", user="bob")
    async with scene.running():
        task = await scene.until(TaskStatus.OVER)
        assert (await scene.until(TaskStatus.RUNNING, 2)).ending is None
    assert (task.ending, task.exit_code) == (Ending.QUOTA_REACHED, 137)
    assert task.reason == "the time quota of user alice is used up: 30 seconds"


async def test_tasks_wait_while_others_hold_the_quota_and_end_once_it_is_used_up(scene: Scene) -> None:
    await limit_project(scene.stores, quota_cpu=3)
    for number in (1, 2):
        await scene.add(number, cmd="sleep 600", cpu=2, project="lab")
    async with scene.running():
        await scene.until(TaskStatus.RUNNING, 1)
        await waiting.until(
            lambda: _told(
                scene,
                2,
                "cannot be placed yet: the cpu quota of project lab: 0 of 3 used, 2 held by tasks that run, 2 needed",
            ),
            "the second has a pending reason",
        )
        await scene.kill(1)
        task = await scene.until(TaskStatus.OVER, 2)
    assert (task.ending, task.attempt) == (Ending.QUOTA_REACHED, 0)
    assert task.reason == "the cpu quota of project lab: 2 of 3 used, 2 needed"


async def _told(scene: Scene, task_id: int, reason: str) -> bool:
    task = await scene.task(task_id)
    verdicts = await scene.stores.pending_reasons.get_many(
        [scope.key for scope in scopes_of(task.user.id, task.project)]
    )
    return reason in [verdict.reason for verdict in verdicts.values()]
