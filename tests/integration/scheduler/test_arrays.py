"""Arrays on real stores: submission, creation of children, requests on the whole or a part, and their end."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from services.scheduler.arrays import expand as scheduling
from services.scheduler.arrays import open_arrays
from services.watcher.mail.outbox_writer import due
from services.watcher.mail.templates import notice
from shared import clock, errors
from shared.lifecycle import ACTIVE, Ending, TaskStatus
from shared.models.notice import NoticeEvent
from shared.models.task import Array, Task
from shared.models.user import User
from shared.rules import arrays
from tests.integration.conftest import Scene
from tests.support import samples, waiting
from tests.support.harness.gateway import Gateway

pytestmark = pytest.mark.stores

OVER = TaskStatus.OVER


class Arrays:
    """A user who submits arrays and follows them."""

    def __init__(self, scene: Scene, gateway: Gateway, user: User) -> None:
        self.scene = scene
        self.gateway = gateway
        self.user = user
        self.stores = scene.stores

    async def send(self, values: Any, *, cmd: str = "exit 0", **changes: Any) -> int:
        """Submit an array, notify the scheduler, and return the id of the parent."""
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
        """Send the hints that the loop of a gateway sends."""
        await self.gateway.context.hints._send()

    async def children(self, parent: int) -> list[Task]:
        cursor = self.stores.database["tasks"].find({"member.parent": parent}).sort("_id", 1)
        return [Task.model_validate(document) async for document in cursor]

    async def over(self, *task_ids: int) -> Task:
        return await self.scene.until(OVER, *task_ids, timeout=60)


@pytest.fixture
async def world(scene: Scene, gateway: Gateway) -> Arrays:
    return Arrays(scene, gateway, await gateway.add_user("alice"))


def indices(parent: Task) -> list[int]:
    assert parent.array is not None
    return list(parent.array.indices)


# --- a whole life ------------------------------------------------------------------------------------


async def test_an_array_runs_from_submission_to_its_end(world: Arrays) -> None:
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


async def test_children_are_created_a_window_ahead_and_placed_in_order_of_index(
    world: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_arrays, "WINDOW_FIRST", 6)
    monkeypatch.setattr(scheduling, "WINDOW_MOST", 6)
    parent = await world.send("1:40", cmd="sleep 60", **{"requirements.cpu": 2})  # the node has room for four
    async with world.scene.running():
        await world.scene.until(TaskStatus.RUNNING, *(parent + n for n in (1, 2, 3, 4)))

        async def quiet() -> bool:
            array = (await world.scene.task(parent)).array
            return array is not None and array.made >= 8  # until half of six wait no more are made

        await waiting.until(quiet, "some more are made")
        children = await world.children(parent)
        shown = await world.ask("GET", f"/task/{parent}")
        active = await world.ask("GET", "/task/active")
        pending = await world.ask("GET", "/task/status/pending/count")
        running = await world.ask("GET", "/task/status/running/count")
        await world.ask("DELETE", f"/task/{parent}")
        await world.over(parent)
    assert len(children) <= 10
    assert sorted(handle.task_id for handle in world.scene.executor.starts) == [parent + n for n in (1, 2, 3, 4)]
    assert shown["requirements"]["array"]["nb_tasks"] == 40
    assert shown["requirements"]["array"]["tasks"] == list(range(parent + 1, parent + 41))
    assert {task["id"] for task in active} >= {parent, *(child.id for child in children)}
    assert len(active) <= 11
    assert (pending["total"] + running["total"], running["total"]) == (40, 4)


async def test_an_array_is_pending_then_running_then_over(world: Arrays) -> None:
    parent = await world.send("2", cmd="sleep 60")
    before = await world.ask("GET", f"/task/{parent}/status")
    async with world.scene.running():

        async def runs() -> bool:
            return bool((await world.ask("GET", f"/task/{parent}/status"))["status"]["primary"] == "running")

        await waiting.until(runs, "the array is shown as running", timeout=30)
        for handle in list(world.scene.executor.starts):
            world.scene.executor.exit(handle, 0)
        await world.over(parent)
    after = await world.ask("GET", f"/task/{parent}")
    assert before["status"]["primary"] == "pending"
    assert "date_running" not in before["status"]
    assert (after["status"]["primary"], after["status"]["exitcode"]) == ("over", 0)
    assert after["status"]["date_running"] <= after["status"]["date_over"]
    assert after["requirements"]["array"]["nb_tasks_over"] == 2
    assert after["container"]["meta"] == {"Node": {"Name": "array"}, "State": {"ExitCode": 0}}


async def test_an_array_with_failures_names_them(world: Arrays) -> None:
    parent = await world.send("1:6", cmd="sleep 60")
    async with world.scene.running():
        await waiting.until(lambda: len(world.scene.executor.starts) == 6, "all run")
        for handle in list(world.scene.executor.starts):
            world.scene.executor.exit(handle, 3 if handle.task_id in (parent + 2, parent + 5) else 0)
        ended = await world.over(parent)
    assert (ended.ending, ended.exit_code, ended.reason) == (Ending.EXITED, 1, "2 of 6 children failed: 2, 5")


async def test_the_limit_on_running_children_holds_and_can_be_changed(world: Arrays) -> None:
    parent = await world.send("1:8", cmd="sleep 60", **{"requirements.array.max_concurrent": 2})
    executor = world.scene.executor
    async with world.scene.running():
        await waiting.until(lambda: len(executor.starts) == 2, "two run")
        executor.exit(executor.starts[0], 0)
        await waiting.until(lambda: len(executor.starts) == 3, "another follows one that ended")
        answer = await world.ask("PUT", f"/task/{parent}", json={"name": "array.max_concurrent", "value": 5})
        assert answer == {"name": "array.max_concurrent", "value": "5"}
        await waiting.until(lambda: len(executor.starts) == 6, "five run")
        assert len(executor.alive) == 5
        await world.ask("PUT", f"/task/{parent}", json={"name": "array.max_concurrent", "value": ""})
        await waiting.until(lambda: len(executor.starts) == 8, "all run")
        for handle in list(executor.starts):
            executor.exit(handle, 0)
        assert (await world.over(parent)).exit_code == 0
    plain = await world.sent()
    answer = await world.refused("PUT", f"/task/{plain}", 422, json={"name": "array.max_concurrent", "value": "1"})
    assert answer["errors"][0]["path"] == "name"
    await world.refused("PUT", f"/task/{parent}", 409, json={"name": "array.max_concurrent", "value": "1"})
    answer = await world.refused("PUT", f"/task/{parent}", 422, json={"name": "array.max_concurrent", "value": "x"})
    assert answer["errors"][0]["path"] == "value"


# --- before a child is made --------------------------------------------------------------------------


async def test_a_child_that_is_not_created_yet_can_be_read(world: Arrays) -> None:
    parent = await world.sent(**{"requirements.array.values": "10:50:10"})
    shown = await world.ask("GET", f"/task/{parent + 3}")
    assert (shown["id"], shown["parent_task_id"], shown["requirements"]["array"]["task_id"]) == (parent + 3, parent, 30)
    assert (shown["status"]["primary"], shown["status"]["reason"]) == (
        "pending",
        f"waits for its turn in the array {parent}",
    )
    assert shown["command"]["script"].endswith(f"/{parent}/30/cmd.sh")
    assert await world.children(parent) == []
    stranger = await world.gateway.add_user("mallory")
    for task_id in (parent, parent + 3):
        assert (await world.gateway.ask("GET", f"/task/{task_id}", stranger)).status_code == 404
    for path in (f"/task/{parent + 6}", f"/task/{parent + 3}/share"):
        assert (await world.gateway.ask("GET", path, world.user)).status_code in (404, 409)


async def test_a_child_that_is_killed_before_its_creation_never_runs(world: Arrays) -> None:
    parent = await world.send("1:5")
    killed = await world.ask("DELETE", f"/task/{parent + 2}")
    again = await world.ask("DELETE", f"/task/{parent + 2}")
    assert [task["status"]["secondary"] for task in (killed, again)] == ["kill requested", "kill requested"]
    async with world.scene.running():
        ended = await world.over(parent)
        child = await world.scene.task(parent + 2)
    assert (child.ending, child.exit_code) == (Ending.KILLED, 137)
    assert (ended.ending, ended.exit_code, ended.reason) == (Ending.EXITED, 1, "1 of 5 children failed: 2")
    assert sorted(handle.task_id - parent for handle in world.scene.executor.starts) == [1, 3, 4, 5]


# --- acting on all, or on a part ---------------------------------------------------------------------


async def test_killing_an_array_ends_all_of_it(world: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_arrays, "WINDOW_FIRST", 10)
    monkeypatch.setattr(scheduling, "WINDOW_MOST", 10)
    parent = await world.send("1:500", cmd="sleep 60", **{"requirements.cpu": 4})
    async with world.scene.running():
        await waiting.until(lambda: len(world.scene.executor.starts) == 2, "two run")
        asked = await world.ask("DELETE", f"/task/{parent}")
        ended = await world.over(parent)
        children = await world.children(parent)
        last = await world.ask("GET", f"/task/{parent + 500}/status")
    assert asked["status"]["secondary"] == "kill requested"
    assert (ended.ending, ended.exit_code) == (Ending.KILLED, 137)
    assert ended.reason == "killed by alice; 0 of 500 children had ended with exit code 0"
    assert ended.array is not None
    assert (ended.array.over, len(children) < 50) == (500, True)
    assert {(child.status, child.ending) for child in children} == {(OVER, Ending.KILLED)}
    assert world.scene.executor.alive == {}
    assert (last["status"]["primary"], last["status"]["secondary"], last["status"]["exitcode"]) == (
        "over",
        "killed",
        137,
    )


async def test_an_array_killed_without_a_scheduler_ends_once_one_leads(world: Arrays) -> None:
    parent = await world.send("1:5")
    held = await world.sent(**{"requirements.array.values": "3", "status.primary": "created"})
    for task_id in (parent, held):
        await world.ask("DELETE", f"/task/{task_id}")
        assert (await world.ask("DELETE", f"/task/{task_id}"))["status"]["secondary"] == "kill requested"
    async with world.scene.running():
        await world.over(parent, held)
    assert world.scene.executor.starts == []
    assert await world.children(parent) == []


async def test_a_part_of_an_array_can_be_killed(world: Arrays) -> None:
    parent = await world.send("1:12", cmd="sleep 60", **{"requirements.array.max_concurrent": 6})
    executor = world.scene.executor
    async with world.scene.running():
        await waiting.until(lambda: len(executor.starts) == 6, "six run")
        await world.ask("DELETE", f"/task/{parent}?index=3-4,9,11-12")
        await world.over(*(parent + index for index in (3, 4, 9, 11, 12)))
        await waiting.until(lambda: len(executor.starts) == 8, "the others follow")
        for handle in list(executor.alive):
            executor.exit(handle, 0)
        await waiting.until(lambda: len(executor.starts) >= 9 or len(executor.alive) == 0, "the rest runs")

        async def done() -> bool:
            for handle in list(executor.alive):
                executor.exit(handle, 0)
            return (await world.scene.task(parent)).status is OVER

        await waiting.until(done, "the array is over", timeout=60)
        ended = await world.scene.task(parent)
    assert ended.reason == "5 of 12 children failed: 3, 4, 9, 11, 12"
    assert not {parent + 9, parent + 11, parent + 12} & {handle.task_id for handle in executor.starts}


async def test_an_invalid_part_of_an_array_is_rejected(world: Arrays) -> None:
    parent = await world.sent(**{"requirements.array.values": "1:12"})
    for index in ("", "x", "7-3", "0", "13", "1-13"):
        answer = await world.refused("DELETE", f"/task/{parent}?index={index}", 422)
        assert answer["errors"][0]["path"] == "query.index"
    assert (await world.ask("GET", f"/task/{parent}/status"))["status"]["secondary"] is None


async def test_a_suspended_array_pauses_running_children_and_starts_none(world: Arrays) -> None:
    parent = await world.send("1:6", cmd="sleep 60", **{"requirements.array.max_concurrent": 3})
    executor = world.scene.executor
    async with world.scene.running():
        await waiting.until(lambda: len(executor.starts) == 3, "three run")
        await world.scene.until(TaskStatus.RUNNING, parent + 1, parent + 2, parent + 3)
        await world.ask("GET", f"/task/{parent}/suspend")
        await waiting.until(lambda: set(executor.alive.values()) == {"paused"}, "all are paused", timeout=30)
        executor.exit(executor.starts[0], 0)
        await world.over(executor.starts[0].task_id)

        async def suspended() -> bool:
            return bool((await world.ask("GET", f"/task/{parent}/status"))["status"]["secondary"] == "suspended")

        await waiting.until(suspended, "the array is suspended", timeout=30)
        assert len(executor.starts) == 3
        await world.ask("GET", f"/task/{parent}/resume")
        await waiting.until(lambda: len(executor.starts) == 4, "another is started", timeout=30)
        await waiting.until(lambda: set(executor.alive.values()) == {"running"}, "all go on", timeout=30)
        await world.ask("DELETE", f"/task/{parent}")
        await world.over(parent)


async def test_a_held_array_creates_no_children_until_it_is_released(world: Arrays) -> None:
    parent = await world.send("1:3", **{"status.primary": "created"})
    async with world.scene.running():
        first = await world.send("1")
        await world.over(first)
        assert await world.children(parent) == []
        assert (await world.ask("GET", f"/task/{parent + 1}/status"))["status"]["primary"] == "created"
        await world.ask("GET", f"/task/{parent}/pending")
        await world.over(parent)


async def test_archiving_and_deleting_an_array_includes_its_children(world: Arrays) -> None:
    parent = await world.send("1:3")
    other = await world.send("1:2", cmd="sleep 60")
    async with world.scene.running():
        await world.over(parent)
        folder = world.gateway.context.directories.path((await world.scene.task(parent)).place)
        assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3"]
        await world.refused("GET", f"/task/{other}/archive", 409)
        await waiting.until(lambda: len(world.scene.executor.alive) == 2, "both run")
        world.scene.executor.exit(next(h for h in world.scene.executor.alive if h.task_id == other + 1), 0)
        await world.over(other + 1)
        # A child may be archived; it is deleted with its array, or after it.
        await world.refused("DELETE", f"/task/{other + 1}/archive", 409)
        assert other + 1 not in await world.ask("DELETE", "/archive/0")
        archived = await world.ask("GET", f"/task/{other + 1}/archive")
        assert archived["status"]["primary"] == "archived"

        again = await world.send("1:3")
        await world.over(again)
        await world.ask("GET", f"/task/{again}/archive")
        kept = [await world.scene.task(task_id) for task_id in range(again, again + 4)]
        assert {task.status for task in kept} == {TaskStatus.ARCHIVED}
        await world.ask("DELETE", f"/task/{again}/archive")

        async def gone() -> bool:
            documents = world.stores.database["tasks"].count_documents({"_id": {"$gte": again, "$lte": again + 3}})
            return await documents == 0 and not folder.exists()

        await waiting.until(gone, "records and files are gone", timeout=30)
        for task_id in (parent, parent + 1, again, again + 1):
            await world.refused("GET", f"/task/{task_id}", 404)
        await world.ask("DELETE", f"/task/{other}")
        await world.over(other)


async def test_all_tasks_of_a_user_are_killed_with_their_arrays(world: Arrays) -> None:
    parent = await world.send("1:300", cmd="sleep 60", **{"meta.tags": ["mine"]})
    async with world.scene.running():
        await waiting.until(lambda: len(world.scene.executor.starts) == 8, "some run")
        await world.stores.owned.kill_all("alice", at=clock.now(), tag="mine")
        await world.over(parent)

        async def finished() -> bool:
            return await world.stores.owned.count_unfinished("alice") == 0

        await waiting.until(finished, "nothing is left", timeout=30)


# --- numbers and limits ------------------------------------------------------------------------------


async def test_an_array_of_any_size_is_one_document(world: Arrays) -> None:
    parent = await world.sent(**{"requirements.array.values": 100_000})
    assert await world.stores.database["tasks"].count_documents({}) == 1
    assert await world.sent() == parent + 100_001
    assert (await world.ask("GET", "/task/status/pending/count"))["total"] == 100_001
    shown = await world.ask("GET", f"/task/{parent + 100_000}")
    assert shown["requirements"]["array"]["task_id"] == 100_000


async def test_an_oversized_array_is_rejected_and_uses_up_no_ids(world: Arrays) -> None:
    first = await world.sent()
    for values in ("1:1000000000:1", "1:10:0", "10:1:1", "-1:3", 0, "1.5", True, 1.5, [1], {}):
        body = samples.submission(**{"requirements.array.values": values})
        answer = await world.refused("POST", "/task", 422, json=body)
        assert {error["path"].partition(".values")[0] for error in answer["errors"]} == {"requirements.array"}
    assert await world.sent() == first + 1


async def test_ids_of_children_are_not_reused_when_the_counter_is_lost(world: Arrays) -> None:
    parent = await world.sent(**{"requirements.array.values": "1:50"})
    await world.stores.database["counters"].delete_many({})
    assert await world.sent() == parent + 51


async def test_children_count_against_the_limits_on_pending_tasks(world: Arrays) -> None:
    submissions = world.gateway.context.submissions
    submissions._settings = world.gateway.settings.model_copy(update={"rate_limit": 10})
    await world.sent(**{"requirements.array.values": "1:7"})
    body = samples.submission(**{"requirements.array.values": "1:4"})
    answer = await world.refused("POST", "/task", 429, json=body)
    assert answer["detail"] == "alice may have 10 tasks waiting, and has no room for 4 more"
    for _ in range(3):
        await world.sent()
    await world.refused("POST", "/task", 429, json=samples.submission())


async def test_the_children_of_an_array_in_a_batch_have_the_ids_after_its_own(world: Arrays) -> None:
    bodies = [samples.submission(**{"requirements.array.values": values}) for values in (None, "1:3", None)]
    answer = await world.ask("POST", "/task/batch", json=bodies)
    first = answer["ids"][0]
    assert answer["ids"] == [first, first + 1, first + 5]
    assert (await world.ask("GET", f"/task/{first + 4}"))["requirements"]["array"]["task_id"] == 3


async def test_a_recipe_created_from_an_array_creates_arrays(world: Arrays) -> None:
    parent = await world.sent(**{"requirements.array.values": "1:9:2", "requirements.array.max_concurrent": 2})
    made = await world.ask("POST", "/marketplace/recipe/mine", json={"description": "", "task": parent})
    assert made["spec"]["requirements"]["array"] == {"values": "1:9:2", "max_concurrent": 2}
    answer = await world.ask("POST", "/task", json=made["spec"])
    assert (await world.scene.task(answer["id"])).array is not None


# --- interruption ------------------------------------------------------------------------------------


async def test_children_whose_creation_is_uncertain_are_created_again_without_effect(
    world: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduling, "BATCH", 7)
    parent = await world.send("1:60")
    advance = world.stores.arrays.advance
    calls = 0

    async def losing(*args: Any, **fields: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise errors.StoreUnavailable("before it was noted")
        noted = await advance(*args, **fields)
        if calls == 3:
            raise errors.StoreUnavailable("after it was noted")
        return noted

    monkeypatch.setattr(type(world.stores.arrays), "advance", lambda _, *args, **fields: losing(*args, **fields))
    async with world.scene.running():
        ended = await world.over(parent)
    await _check_whole(world, ended, 60)


async def test_a_new_leader_continues_where_the_last_one_died(world: Arrays) -> None:
    parent = await world.send("1:30")
    before = await world.scene.task(parent)
    # It had stored nine without noting any of them; one of them has run by now.
    await world.stores.arrays.make(arrays.documents(before, range(9), now=clock.now()))
    await world.stores.database["tasks"].update_one(
        {"_id": parent + 2},
        {"$set": {"status": OVER, "attempt": 1, "exit_code": 0, "ending": "exited", "ended_at": clock.now()}},
    )
    async with world.scene.running():
        ended = await world.over(parent)
    await _check_whole(world, ended, 30, ran_before={parent + 2})


async def _check_whole(
    world: Arrays, parent: Task, count: int, ran_before: frozenset[int] | set[int] = frozenset()
) -> None:
    """Check that every child exists once and ran once."""
    assert (parent.exit_code, parent.reason) == (0, None)
    children = await world.children(parent.id)
    assert [child.member.index for child in children if child.member] == list(range(1, count + 1))
    assert {child.attempt for child in children} == {1}
    started = sorted(handle.task_id for handle in world.scene.executor.starts)
    assert started == [child.id for child in children if child.id not in ran_before]


async def test_a_kill_during_the_creation_of_children_reaches_them(
    world: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = world.stores.arrays.make
    parent = await world.send("1:200")
    killed = False

    async def meanwhile(children: Any) -> Any:
        nonlocal killed
        if not killed:
            killed = True
            await world.ask("DELETE", f"/task/{parent}")
        return await make(children)

    monkeypatch.setattr(type(world.stores.arrays), "make", lambda _, children: meanwhile(children))
    async with world.scene.running():
        ended = await world.over(parent)
    assert ended.ending is Ending.KILLED
    assert all(child.status is OVER for child in await world.children(parent))
    assert not await world.stores.database["tasks"].count_documents({"status": {"$in": sorted(ACTIVE)}})


async def test_children_created_after_the_end_of_their_array_are_killed(world: Arrays) -> None:
    parent = await world.send("1:5")
    before = await world.scene.task(parent)
    await world.ask("DELETE", f"/task/{parent}")
    async with world.scene.running():
        await world.over(parent)
        # As a leader writes them that has not noticed yet that it leads no more.
        await world.stores.arrays.make(arrays.documents(before, range(3), now=clock.now()))
        assert not await world.stores.arrays.advance(parent, old=0, new=3)
        await world.over(parent + 1, parent + 2, parent + 3)


@pytest.mark.parametrize("seed", range(3))
async def test_an_array_ends_whatever_requests_come_in_any_order(world: Arrays, seed: int) -> None:
    chance = random.Random(seed)
    parent = await world.send("1:40", cmd="sleep 0.1", **{"requirements.array.max_concurrent": 4})
    wishes = [
        lambda: ("GET", f"/task/{parent}/suspend", {}),
        lambda: ("GET", f"/task/{parent}/resume", {}),
        lambda: ("GET", f"/task/{parent}/reschedule", {}),
        lambda: ("DELETE", f"/task/{parent + chance.randint(1, 40)}", {}),
        lambda: ("DELETE", f"/task/{parent}?index={chance.randint(1, 20)}-{chance.randint(20, 22)}", {}),
        lambda: ("GET", f"/task/{parent + chance.randint(1, 40)}/suspend", {}),
        lambda: (
            "PUT",
            f"/task/{parent}",
            {"json": {"name": "array.max_concurrent", "value": str(chance.randint(0, 6))}},
        ),
    ]
    async with world.scene.running():
        for _ in range(25):
            method, path, options = chance.choice(wishes)()
            answer = await world.gateway.ask(method, path, world.user, **options)
            assert answer.status_code in (200, 409), answer.text
            await world.tell()
            await asyncio.sleep(chance.uniform(0, 0.05))
        if seed == 1:
            await world.ask("DELETE", f"/task/{parent}")
        else:
            await world.gateway.ask("GET", f"/task/{parent}/resume", world.user)

        async def resumed_and_over() -> bool:
            # Children that were suspended one by one are resumed one by one.
            for child in await world.children(parent):
                if child.remark == "suspended":
                    await world.gateway.ask("GET", f"/task/{child.id}/resume", world.user)
            await world.tell()
            return (await world.scene.task(parent)).status is OVER

        await waiting.until(resumed_and_over, "the array is over", timeout=90, interval=0.2)
        children = await world.children(parent)
        await world.scene.settled(*(child.id for child in children))
    assert {child.status for child in children} == {OVER}
    assert world.scene.executor.alive == {}
    rows = [len(await world.stores.usage.of_task(child.id)) for child in children]
    assert all(count <= child.attempt for count, child in zip(rows, children, strict=True))


async def test_arrays_and_their_children_are_explained(world: Arrays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_arrays, "WINDOW_FIRST", 6)
    monkeypatch.setattr(scheduling, "WINDOW_MOST", 6)
    limited = {"requirements.array.max_concurrent": 2}

    async def codes(task_id: int) -> set[str]:
        answer = await world.ask("GET", f"/task/{task_id}/explain")
        return {reason["code"] for reason in answer["reasons"]}

    async with world.scene.running():
        parent = await world.send("1:30", cmd="sleep 60", **limited)
        await world.scene.until(TaskStatus.RUNNING, parent + 1, parent + 2)

        async def begun() -> bool:
            return (await world.scene.task(parent)).started_at is not None

        await waiting.until(begun, "the array is known to run", timeout=30)
        assert await codes(parent) == {"running"}
        assert await codes(parent + 1) == {"running"}
        assert "array_limit" in await codes(parent + 3)
        assert await codes(parent + 30) == {"not_made"}
        await world.ask("GET", f"/task/{parent}/suspend")

        async def suspended() -> bool:
            return "array_suspended" in await codes(parent + 3)

        await waiting.until(suspended, "that is the reason", timeout=30)
        body = samples.submission(**{"requirements.array.values": "1:9", "requirements.depends.afterok": [parent]})
        answer = await world.ask("POST", "/task?dry_run=true", json=body)
        assert {reason["code"] for reason in answer["explanation"]["reasons"]} >= {"dependency"}
        assert await world.stores.database["tasks"].count_documents({"array": {"$ne": None}}) == 1
        await world.ask("DELETE", f"/task/{parent}")
        await world.over(parent)


async def test_an_array_sends_one_mail_when_it_starts_and_one_when_it_ends(world: Arrays) -> None:
    array = {"start": 1, "end": 9, "step": 1, "count": 9, "first_id": 8}
    waits = samples.task(7, array=Array(**array), told=-1)
    runs = samples.task(107, array=Array(**{**array, "first_id": 108}), told=-1, started_at=samples.NOW)
    ended = samples.task(
        207, OVER, array=Array(**{**array, "first_id": 208}), told=0, started_at=1.0, ended_at=2.0, ending=Ending.EXITED
    )
    children = [Task.model_validate(one) for one in arrays.documents(runs, range(3), now=samples.NOW)]
    await world.stores.tasks.insert([waits, runs, ended, *children])
    owing = {task.id: task for task in await world.stores.outbox.owing(limit=10)}
    assert {task_id: list(due(task)) for task_id, task in owing.items()} == {
        107: [NoticeEvent.RUNNING],
        207: [NoticeEvent.OVER],
    }
    letter = notice(runs, NoticeEvent.RUNNING, to="alice@lab.test", directory="/x/107")
    assert letter.text.startswith("Your task 107 (sample), an array of 9, is running.")
    await world.stores.outbox.told(owing[107], 0)
    await world.stores.outbox.told(owing[207], None)
    assert await world.stores.outbox.owing(limit=10) == []
