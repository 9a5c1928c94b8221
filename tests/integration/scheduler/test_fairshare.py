"""Fair share on real stores: reads of usage and priorities, and the order of starts that follows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.scheduler.policies.usage_cache import UsageCache
from services.scheduler.service import SchedulerService
from shared import clock
from shared.lifecycle import TaskStatus
from shared.models.project import Project
from shared.models.usage import UsageRow, row_id
from shared.models.usage_sums import Priorities, UsageSum
from shared.settings import Settings
from shared.store.stores import Stores
from shared.store.usage_views import DAY, UsageViews
from tests.integration.conftest import Scene
from tests.support import samples, waiting

pytestmark = pytest.mark.stores

HOUR = 3600.0


def used(number: int, user: str, project: str = "default", **fields: Any) -> UsageRow:
    """Return the usage row of an attempt that ran for an hour."""
    at = fields.pop("at", samples.NOW)
    values: dict[str, Any] = {
        "id": row_id(number, 1),
        "task": number,
        "attempt": 1,
        "user": user,
        "project": project,
        "cpu": 1.0,
        "ram": 2.0,
        "started_at": at - HOUR,
        "ended_at": at,
        "seconds": HOUR,
        "day": clock.day(at),
    }
    return UsageRow(**{**values, **fields})


# --- what is read ------------------------------------------------------------------------


async def test_usage_is_summed_by_user_and_project_since_a_moment(opened: Stores) -> None:
    await opened.usage.add_many(
        [
            used(1, "alice", cpu=4.0),
            used(2, "alice", at=samples.NOW + 5, seconds=10.0),
            used(3, "alice", "one"),
            used(4, "bob"),
            used(5, "bob", at=samples.NOW - 1),  # too long ago
            used(6, "bob", at=samples.NOW + DAY),
        ]
    )
    ended = await UsageViews(opened.database).ended(since=samples.NOW)
    today = samples.NOW - samples.NOW % DAY
    assert sorted(ended) == [today, today + DAY]
    assert sorted(ended[today], key=lambda taken: (taken.user, taken.project)) == [
        UsageSum("alice", "default", 2, HOUR + 10, 4 * HOUR + 10, 2 * HOUR + 20),
        UsageSum("alice", "one", 1, HOUR, HOUR, 2 * HOUR),
        UsageSum("bob", "default", 1, HOUR, HOUR, 2 * HOUR),
    ]
    assert ended[today + DAY] == [UsageSum("bob", "default", 1, HOUR, HOUR, 2 * HOUR)]


async def test_running_tasks_are_summed_with_their_time_so_far(opened: Stores) -> None:
    placed = {"placement": samples.placement(), "user": "alice"}
    await opened.tasks.insert(
        [
            samples.task(1, TaskStatus.RUNNING, started_at=samples.NOW, cpu=4.0, ram=8.0, **placed),
            samples.task(2, TaskStatus.STARTING, at=samples.NOW + 90, **placed),
            samples.task(3, TaskStatus.RUNNING, started_at=samples.NOW + 500, **placed),  # by another clock
            samples.task(4, TaskStatus.PENDING, user="alice"),
            samples.task(5, TaskStatus.OVER, started_at=samples.NOW, ended_at=samples.NOW + 1, **placed),
        ]
    )
    running = await UsageViews(opened.database).running(at=samples.NOW + 100)
    assert running == [UsageSum("alice", "default", 3, 110, 410, 810, cores=6, gb=10)]


async def test_priorities_are_those_of_all_users_and_projects(opened: Stores) -> None:
    await opened.users.add(samples.user("alice", usage={"prio": 80}))
    await opened.users.add(samples.user("bob"))
    await opened.database["users"].insert_one({"_id": "old"})
    await opened.projects.add(Project(id="one", prio=20))
    expected = Priorities({"alice": 80, "bob": 50, "old": 50}, {"one": 20})
    assert await UsageViews(opened.database).priorities() == expected


async def test_the_sums_of_the_window_are_read_from_the_index_alone(indexed: Stores) -> None:
    await indexed.usage.add_many([used(number, f"user{number % 7}", at=samples.NOW + number) for number in range(300)])
    seen: list[list[dict[str, Any]]] = []

    class Watched:
        """The collection `usage`, recording the queries made."""

        def aggregate(self, pipeline: list[dict[str, Any]]) -> Any:
            seen.append(pipeline)
            return indexed.database["usage"].aggregate(pipeline)

    store = UsageViews(indexed.database)
    store._usage = Watched()  # type: ignore[assignment]
    assert sum(map(len, (await store.ended(since=samples.NOW + 200)).values())) == 7
    command = {"aggregate": "usage", "pipeline": seen[0], "cursor": {}}
    plan = str(await indexed.database.command("explain", command, verbosity="executionStats"))
    assert "'indexName': 'by_end'" in plan
    assert "'totalDocsExamined': 0" in plan


# --- who is started first -------------------------------------------------------------------


@pytest.fixture
def fair(scene: Scene) -> Scene:
    scene.settings = scene.settings.model_copy(
        update={"scheduler_policy": "fairshare", "fairshare_reload_seconds": 0.1}
    )
    return scene


async def add_queue(scene: Scene) -> None:
    """Add two tasks of alice and two of bob behind them, each as large as the node."""
    for number, user in ((1, "alice"), (2, "alice"), (3, "bob"), (4, "bob")):
        await scene.add(number, user=user, cpu=8.0, cmd="exit 0", at=clock.now() - 10 + number)


def started(scene: Scene) -> list[int]:
    return [handle.task_id for handle in scene.executor.starts]


async def heavy(scene: Scene, **fields: Any) -> None:
    """Give alice a high usage."""
    at = clock.now() - fields.pop("ago", 60.0)
    await scene.stores.usage.add_many([used(number, "alice", at=at, **fields) for number in range(1001, 1006)])


async def prioritised(scene: Scene) -> None:
    """Give bob a high priority, and nobody any usage."""
    await scene.stores.users.add(samples.user("alice", usage={"prio": 10}))
    await scene.stores.users.add(samples.user("bob", usage={"prio": 90}, uid=20002))


async def long_ago(scene: Scene) -> None:
    """Give alice a high usage, older than a window of thirty days."""
    await heavy(scene, ago=32 * DAY)


@pytest.mark.parametrize(
    ("policy", "before", "first"),
    [
        ("fairshare", heavy, [3, 4, 1, 2]),
        ("fairshare", prioritised, [3, 4, 1, 2]),
        ("fairshare", long_ago, [1]),
        ("fifo", heavy, [1, 2, 3, 4]),
    ],
    ids=["fairshare-heavy", "fairshare-priority", "fairshare-long-ago", "fifo"],
)
async def test_the_policy_decides_which_task_starts_first(
    fair: Scene, policy: str, before: Callable[[Scene], Awaitable[None]], first: list[int]
) -> None:
    fair.settings = fair.settings.model_copy(update={"scheduler_policy": policy, "fairshare_user_weight": 100.0})
    await before(fair)
    await add_queue(fair)
    async with fair.running():
        await fair.until(TaskStatus.OVER, 1, 2, 3, 4)
    assert started(fair)[: len(first)] == first


async def test_new_usage_counts_after_the_next_read(fair: Scene) -> None:
    await fair.add(9, user="carol", cpu=8.0, cmd="sleep 600")
    scheduler = fair.scheduler()
    async with fair.running(scheduler, fair.watcher()):
        await fair.until(TaskStatus.RUNNING, 9)
        await add_queue(fair)
        await heavy(fair)
        await waiting.until(lambda: len(scheduler._book) == 4, "the scheduler knows the tasks")
        await waiting.until(lambda: _knows(scheduler), "the scheduler has read what alice used")
        await fair.kill(9)
        await fair.until(TaskStatus.OVER, 1, 2, 3, 4)
    assert started(fair) == [9, 3, 4, 1, 2]


def _knows(scheduler: SchedulerService) -> bool:
    return scheduler._usage.view(clock.now()).user("alice").usage.time >= 5 * HOUR


async def test_a_running_task_counts_while_it_runs(fair: Scene) -> None:
    """No task of alice has ended, but she holds half of the node, so bob gets the other half first."""
    for number, user in ((1, "alice"), (9, "carol")):
        await fair.add(number, user=user, cpu=4.0, cmd="sleep 600")
    scheduler = fair.scheduler()
    async with fair.running(scheduler, fair.watcher()):
        await fair.until(TaskStatus.RUNNING, 1, 9)
        for number, user in ((2, "alice"), (3, "bob")):
            await fair.add(number, user=user, cpu=4.0, cmd="exit 0", at=clock.now() - 10 + number)
        await waiting.until(lambda: len(scheduler._book) == 2, "the scheduler knows the tasks")
        await fair.kill(9)
        await fair.until(TaskStatus.OVER, 2, 3)
    assert started(fair)[2:] == [3, 2]


async def test_closed_days_are_read_again_only_now_and_then(opened: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    shares, at = UsageCache(UsageViews(opened.database), days=3), samples.NOW - samples.NOW % DAY + 1000

    async def hours(now: float) -> float:
        monkeypatch.setattr(clock, "now", lambda: now)
        await shares.read()
        return shares.view(now).user("alice").usage.time / HOUR

    await opened.usage.add_many([used(number, "alice", at=at - number * DAY) for number in range(4)])
    assert await hours(at) == 3  # of today and the two days before
    late = [used(10 + number, "alice", at=at - number * DAY) for number in range(3)]
    await opened.usage.add_many(late)
    assert await hours(at + 60) == 5  # today's and yesterday's
    assert await hours(at + 4000) == 6
    assert await hours(at + 4000 + DAY) == 4  # a day has left the window


async def test_a_placed_task_counts_before_the_next_read(opened: Stores, settings: Settings) -> None:
    shares = UsageCache(UsageViews(opened.database), days=settings.user_reset_usage_duration)
    await shares.read()
    shares.charge([samples.pending(1, cpus=2.0)])
    charged = shares.view(clock.now()).user("alice").usage
    assert (charged.time, charged.cpu) == (60, 120)
    await shares.read()  # it is not there: it was never written as starting
    assert shares.view(clock.now()).user("alice").usage.time == 0


class Paused:
    """A usage cache whose reads pause just before their end until the test continues one of them."""

    def __init__(self, opened: Stores, settings: Settings) -> None:
        store = UsageViews(opened.database)
        self._priorities, self._turns = store.priorities, asyncio.Semaphore(0)
        store.priorities = self._held  # type: ignore[method-assign]
        self.shares = UsageCache(store, days=settings.user_reset_usage_duration)
        self.looks = 0  #: that have come as far

    async def _held(self) -> Priorities:
        self.looks += 1
        await self._turns.acquire()
        return await self._priorities()

    def continue_one(self) -> None:
        self._turns.release()


@pytest.fixture
def held(opened: Stores, settings: Settings) -> Paused:
    return Paused(opened, settings)


async def test_usage_counts_as_known_only_once_all_of_it_was_read(opened: Stores, held: Paused) -> None:
    """A leader must not rank tasks by a read that is only half done."""
    await opened.users.add(samples.user("alice", usage={"prio": 10}))
    looking = asyncio.create_task(held.shares.read(), name="look")
    await waiting.until(lambda: held.looks == 1, "a look is under way")
    leading = asyncio.create_task(held.shares.ensure_known(), name="lead")
    await asyncio.wait({leading}, timeout=0.3)
    assert not leading.done()
    held.continue_one()
    await asyncio.wait_for(asyncio.gather(looking, leading), waiting.TIMEOUT)
    assert held.shares.view(clock.now()).user("alice").prio == 10


async def test_a_read_drops_no_charge_that_another_read_must_keep(held: Paused) -> None:
    first = asyncio.create_task(held.shares.read(), name="look")
    await waiting.until(lambda: held.looks == 1, "a look is under way")
    held.shares.charge([samples.pending(1, cpus=2.0)])
    second = asyncio.create_task(held.shares.read(), name="another look")
    await asyncio.wait({second}, timeout=0.3)
    held.continue_one()
    await asyncio.wait_for(first, waiting.TIMEOUT)
    assert held.shares.view(clock.now()).user("alice").usage.cpu == 120
    held.continue_one()
    await asyncio.wait_for(second, waiting.TIMEOUT)
