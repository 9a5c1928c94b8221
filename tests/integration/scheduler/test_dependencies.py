"""Dependencies on real stores: tasks that wait, are released or end unmet, and requests that are rejected."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared import clock
from shared.lifecycle import Ending, TaskStatus
from shared.models.task import Dependencies, Task
from tests.integration.conftest import Scene
from tests.integration.scheduler.test_arrays import Arrays
from tests.support import samples, waiting
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores

OVER, PENDING, RUNNING = TaskStatus.OVER, TaskStatus.PENDING, TaskStatus.RUNNING


@pytest.fixture
async def world(scene: Scene, gateway: Gateway) -> Arrays:
    return Arrays(scene, gateway, await gateway.add_user("alice"))


async def send(world: Arrays, cmd: str = "exit 0", **changes: Any) -> int:
    return await world.send(None, cmd=cmd, **changes)


async def after(world: Arrays, kind: str, *ids: int, **changes: Any) -> int:
    return await send(world, **{f"requirements.depends.{kind}": list(ids), **changes})


async def ended(world: Arrays, *ids: int) -> list[tuple[Ending | None, int | None]]:
    await world.over(*ids)
    tasks = [await world.scene.task(task_id) for task_id in ids]
    return [(task.ending, task.exit_code) for task in tasks]


RAN, IN_VAIN = (Ending.EXITED, 0), (Ending.DEPENDENCY_FAILED, None)


# --- waiting -----------------------------------------------------------------------------------------


async def test_a_task_waits_until_its_dependencies_are_over(world: Arrays) -> None:
    first, second = await send(world, "sleep 60"), await send(world, "sleep 60")
    last = await send(world, **{"requirements.tasks": [str(first), str(second)]})
    executor = world.scene.executor
    async with world.scene.running():
        await waiting.until(lambda: len(executor.starts) == 2, "both run")
        shown = await world.ask("GET", f"/task/{last}")
        assert (shown["status"]["primary"], shown["status"]["reason"]) == (
            "pending",
            f"waits for tasks {first}, {second} to be over",
        )
        assert shown["requirements"]["tasks"] == [first, second]
        executor.exit(executor.starts[0], 5)
        await waiting.until(lambda: not executor.alive.keys() >= set(executor.starts), "one is over")

        async def one_left() -> bool:
            return len((await world.scene.task(last)).waiting_on) == 1

        await waiting.until(one_left, "one is left to be waited for", timeout=30)
        assert (await world.scene.task(last)).status is PENDING
        executor.exit(executor.starts[1], 0)
        assert await ended(world, last) == [RAN]
    assert [handle.task_id for handle in executor.starts][-1] == last


@pytest.mark.parametrize(
    ("code", "kinds"),
    [
        (0, {"afterok": RAN, "afterany": RAN, "afternotok": IN_VAIN}),
        (3, {"afterok": IN_VAIN, "afterany": RAN, "afternotok": RAN}),
    ],
)
async def test_an_exit_code_decides_which_dependencies_are_met(world: Arrays, code: int, kinds: dict[str, Any]) -> None:
    first = await send(world, f"exit {code}")
    followers = [await after(world, kind, first) for kind in kinds]
    async with world.scene.running():
        assert await ended(world, *followers) == list(kinds.values())
        late = [await after(world, kind, first) for kind in kinds]
        assert await ended(world, *late) == list(kinds.values())
    reason = (await world.scene.task(followers[0 if code else 2])).reason or ""
    assert reason.startswith(f"task {first} ended with exit code {code}; it had to end ")
    shown = await world.ask("GET", f"/task/{followers[0 if code else 2]}/status")
    assert (shown["status"]["primary"], shown["status"]["exitcode"]) == ("over", None)


async def test_a_killed_task_counts_as_failed(world: Arrays) -> None:
    first = await send(world, **{"status.primary": "created"})
    followers = [await after(world, kind, first) for kind in ("afterok", "afterany", "afternotok")]
    async with world.scene.running():
        await world.ask("DELETE", f"/task/{first}")
        assert await ended(world, *followers) == [IN_VAIN, RAN, RAN]


async def test_a_task_with_an_impossible_dependency_ends_with_all_tasks_behind_it(world: Arrays) -> None:
    first = await send(world, "exit 1")
    chain = [first]
    for _ in range(40):
        chain.append(await after(world, "afterok", chain[-1]))
    otherwise = await after(world, "afternotok", chain[-1])
    async with world.scene.running():
        assert set(await ended(world, *chain[1:])) == {IN_VAIN}
        assert await ended(world, otherwise) == [RAN]
    assert (
        await world.scene.task(chain[2])
    ).reason == f"task {chain[1]} ended without an exit code; it had to end with 0"
    assert {handle.task_id for handle in world.scene.executor.starts} == {first, otherwise}


async def test_a_chain_of_a_thousand_ends_within_a_few_checks(world: Arrays) -> None:
    now = clock.now()
    tasks = [samples.task(1, OVER, at=now, exit_code=1, ending=Ending.EXITED, ended_at=now)]
    for number in range(2, 1002):
        depends = Dependencies(ok=[number - 1])
        tasks.append(samples.task(number, at=now, depends=depends, waiting_on=[number - 1]))
    await world.stores.tasks.insert(tasks)
    async with world.scene.running(world.scene.scheduler()):

        async def all_over() -> bool:
            return await world.stores.database["tasks"].count_documents({"status": "pending"}) == 0

        await waiting.until(all_over, "the whole chain is over", timeout=60)
    endings = await world.stores.database["tasks"].distinct("ending", {"_id": {"$gt": 1}})
    assert endings == [Ending.DEPENDENCY_FAILED]


async def test_a_held_task_ends_with_its_dependency_or_waits_for_it_once_released(world: Arrays) -> None:
    bad, good = await send(world, "exit 1"), await send(world, "sleep 60")
    held = [await after(world, "afterok", one, **{"status.primary": "created"}) for one in (bad, good)]
    executor = world.scene.executor
    async with world.scene.running():
        assert await ended(world, held[0]) == [IN_VAIN]
        await world.ask("GET", f"/task/{held[1]}/pending")
        await waiting.until(lambda: len(executor.starts) == 2, "only those before it ran")
        executor.exit(next(handle for handle in executor.starts if handle.task_id == good), 0)
        assert await ended(world, held[1]) == [RAN]


async def test_killing_a_task_that_waits_ends_it(world: Arrays) -> None:
    first = await send(world, **{"status.primary": "created"})
    second = await after(world, "afterok", first)
    third = await after(world, "afterany", second)
    async with world.scene.running():
        await world.ask("DELETE", f"/task/{second}")
        assert await ended(world, second, third) == [(Ending.KILLED, 137), RAN]


async def test_a_deleted_dependency_releases_or_ends_the_tasks_behind_it(world: Arrays) -> None:
    first = await send(world, "exit 0")
    async with world.scene.running():
        await world.over(first)
    # They were admitted when it was still there; by now nothing says how it ended.
    now = clock.now()
    kinds = ("ok", "any", "not_ok")
    tasks = [
        samples.task(first + 10 + n, at=now, depends=Dependencies(**{kind: [first]}), waiting_on=[first], cmd="exit 0")
        for n, kind in enumerate(kinds)
    ]
    for task in tasks:
        task.user.uid = task.user.gid = 0
    await world.stores.tasks.insert(tasks)
    await world.stores.database["tasks"].delete_one({"_id": first})
    async with world.scene.running():
        assert await ended(world, *(task.id for task in tasks)) == [IN_VAIN, RAN, IN_VAIN]
    assert (await world.scene.task(first + 10)).reason == f"task {first} was deleted before its end was checked"


async def test_another_leader_finds_tasks_that_were_released_without_it(world: Arrays) -> None:
    first = await send(world, **{"status.primary": "created"})
    second = await after(world, "afterany", first)
    async with world.scene.running():
        await world.scene.until(PENDING, second)
        # As a leader that went on for a moment too long writes it.
        await world.stores.dependencies.satisfied({second: [first]})
        assert await ended(world, second) == [RAN]


# --- arrays ------------------------------------------------------------------------------------------


async def test_a_task_after_an_array_waits_for_all_its_children(world: Arrays) -> None:
    array = await world.send("1:3", cmd="sleep 60")
    followers = [await after(world, kind, array) for kind in ("afterok", "afternotok")]
    executor = world.scene.executor
    async with world.scene.running():
        await waiting.until(lambda: len(executor.starts) == 3, "all children run")
        for handle in executor.starts[:2]:
            executor.exit(handle, 0)
        await world.over(*(handle.task_id for handle in executor.starts[:2]))
        assert [(await world.scene.task(one)).status for one in followers] == [PENDING, PENDING]
        executor.exit(executor.starts[2], 1)
        assert await ended(world, *followers) == [IN_VAIN, RAN]


async def test_an_array_waits_before_its_first_child_is_created(world: Arrays) -> None:
    good, bad = await send(world, "sleep 60"), await send(world, "exit 1")
    lucky = await world.send("1:3", **{"requirements.depends.afterok": [good]})
    doomed = await world.send("1:3", **{"requirements.depends.afterok": [bad]})
    executor = world.scene.executor
    async with world.scene.running():
        assert await ended(world, doomed) == [IN_VAIN]
        assert await world.children(lucky) == []
        child = await world.ask("GET", f"/task/{doomed + 2}/status")
        assert (child["status"]["primary"], child["status"]["reason"]) == (
            "over",
            f"task {bad} ended with exit code 1; it had to end with 0",
        )
        executor.exit(next(handle for handle in executor.starts if handle.task_id == good), 0)
        assert await ended(world, lucky) == [RAN]
    assert len(await world.children(lucky)) == 3


async def test_a_task_may_depend_on_a_child_that_is_not_created_yet(world: Arrays) -> None:
    array = await world.send("1:5", **{"status.primary": "created"})
    follower = await after(world, "afterok", array + 4)
    killed = await world.send("1:5", **{"status.primary": "created"})
    others = [await after(world, kind, killed + 4) for kind in ("afterok", "afternotok")]
    async with world.scene.running():
        await world.ask("GET", f"/task/{array}/pending")
        await world.ask("DELETE", f"/task/{killed}")
        assert await ended(world, follower, *others) == [RAN, IN_VAIN, RAN]


# --- what is refused ---------------------------------------------------------------------------------


async def refusal(world: Arrays, **changes: Any) -> list[tuple[str, str]]:
    answer = await world.refused("POST", "/task", 422, json=samples.submission(**changes))
    return [(error["path"], error["rule"]) for error in answer["errors"]]


async def test_ids_that_the_caller_may_not_see_are_rejected(world: Arrays) -> None:
    own = await world.sent()
    stranger = await world.gateway.add_user("bob")
    answer = await world.gateway.ask("POST", "/task", stranger, json=samples.submission())
    foreign = answer.json()["id"]
    nothing = foreign + 1  # its own, for example
    for absent in (foreign, nothing, 10**9):
        assert await refusal(world, **{"requirements.tasks": [own, absent]}) == [
            ("requirements.tasks.1", f"there is no task {absent}")
        ]
        for kind in ("afterok", "afterany", "afternotok"):
            assert await refusal(world, **{f"requirements.depends.{kind}": [str(absent)]}) == [
                (f"requirements.depends.{kind}.0", f"there is no task {absent}")
            ]
    # A batch cannot name its own tasks, so dependencies form no circle.
    bodies = [samples.submission(), samples.submission(**{"requirements.tasks": [nothing]})]
    refused = await world.refused("POST", "/task/batch", 422, json=bodies)
    assert [error["path"] for error in refused["errors"]] == ["1.requirements.tasks.0"]
    assert await world.stores.database["tasks"].count_documents({}) == 2


async def test_an_admin_may_name_the_tasks_of_anybody(world: Arrays) -> None:
    own = await world.sent()
    admin = await world.gateway.add_user("admin", admin=True)
    body = samples.submission(**{"requirements.depends.afterok": [own]})
    assert (await world.gateway.ask("POST", "/task", admin, json=body)).status_code == 200


async def test_a_deleted_task_is_rejected_as_a_dependency(world: Arrays) -> None:
    now = clock.now()
    await world.gateway.add_task(7, OVER, at=now, purge="all", ended_at=now)
    assert await refusal(world, **{"requirements.tasks": [7]}) == [("requirements.tasks.0", "there is no task 7")]


async def test_a_contradictory_condition_is_rejected(world: Arrays) -> None:
    own = await world.sent()
    both = {"requirements.depends": {"afterok": [own], "afternotok": [own]}}
    assert await refusal(world, **both) == [
        ("requirements.depends.afternotok", f"task {own} cannot end with 0 and in another way")
    ]


async def test_more_than_a_thousand_ids_are_rejected(world: Arrays) -> None:
    ids = list(range(1, 1002))
    parts = {"requirements.depends": {"afterok": ids[:600], "afterany": ids[600:]}}
    assert [path for path, _ in await refusal(world, **parts)] == ["requirements.depends"]
    assert [path for path, _ in await refusal(world, **{"requirements.depends.afterok": ids})] == [
        "requirements.depends.afterok"
    ]


async def test_a_value_that_is_no_id_is_rejected(world: Arrays) -> None:
    for value in (True, "x", [0], [-1], [1.5], ["a"], [None], {"afterok": 1}, {"afterok": [True]}):
        name = "requirements.depends" if isinstance(value, dict) else "requirements.tasks"
        found = await refusal(world, **{name: value})
        assert found
        assert all(path.startswith(name) for path, _ in found)


async def test_a_task_whose_dependencies_are_already_met_starts_at_once(world: Arrays) -> None:
    first = await send(world, "exit 0")
    async with world.scene.running():
        await world.over(first)
        second = await after(world, "afterok", first)
        assert (await world.scene.task(second)).waiting_on == []
        assert await ended(world, second) == [RAN]


async def test_tasks_with_random_dependencies_all_end(world: Arrays) -> None:
    ids: list[int] = []
    for number in range(30):
        kinds = ("afterok", "afterany", "afternotok")
        changes = {f"requirements.depends.{kinds[n % 3]}": ids[n::7] for n in range(min(len(ids), 3))}
        ids.append(await send(world, f"exit {number % 3 and number % 2}", **changes))
    async with world.scene.running():
        await asyncio.wait_for(world.over(*ids), 90)
    found: dict[int, Task] = {task_id: await world.scene.task(task_id) for task_id in ids}
    for task in found.values():
        assert (task.ending is Ending.DEPENDENCY_FAILED) == (task.attempt == 0)
        if task.attempt:
            assert all(found[one].exit_code == 0 for one in task.spec.depends.ok)
            assert all(found[one].exit_code != 0 for one in task.spec.depends.not_ok)
