"""The scheduler on real stores, with an executor that fails on request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from services.scheduler import cycle, service
from services.scheduler.why_pending import refresh
from shared import errors
from shared.executors import types
from shared.lifecycle import Ending, Intent, TaskStatus
from shared.models.node import StoredReason
from shared.models.system.lease import Lease
from shared.models.transitions import Transition
from tests.integration.conftest import Scene
from tests.support import samples, waiting
from tests.support.servers.stores import StoreServer

pytestmark = pytest.mark.stores

PENDING, STARTING, RUNNING, OVER = TaskStatus.PENDING, TaskStatus.STARTING, TaskStatus.RUNNING, TaskStatus.OVER


@pytest.fixture(autouse=True)
def _short_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for starts that hang on purpose."""
    monkeypatch.setattr(service, "DRAIN", 0.2)


async def test_a_task_runs_from_submission_to_its_end(scene: Scene) -> None:
    handle = await scene.add(1, cmd="exit 3")
    async with scene.running():
        await scene.broker.enqueue([1])
        task = await scene.until(OVER)
        await scene.settled()
    assert (task.ending, task.exit_code, task.attempt, task.reason) == (Ending.EXITED, 3, 1, None)
    assert [entry["status"] for entry in task.history] == ["starting", "running", "over"]
    assert scene.executor.starts == [handle]
    assert scene.executor.state(handle) is None
    assert [row.attempt for row in await scene.stores.usage.of_task(1)] == [1]


async def test_an_executor_gets_a_run_built_from_the_task(scene: Scene) -> None:
    handle = await scene.add(1, cmd="sleep 60", cpu=0.5, ram=0.25, network="public")
    async with scene.running(scene.scheduler()):
        await scene.until(RUNNING)
    run, task = scene.executor.runs[handle], await scene.task()
    assert (run.cpus, run.memory, run.network, run.root, run.image) == (
        0.5,
        1024**3 // 4,
        "public",
        False,
        "busybox:latest",
    )
    assert (run.uid, run.gid) == (task.user.uid, task.user.gid)


async def test_without_redis_a_poll_finds_new_tasks(scene: Scene, redis_server: StoreServer) -> None:
    redis_server.stop()
    await scene.add(1, cmd="exit 0")
    await scene.add(2, cmd="sleep 60")
    async with scene.running():
        await scene.until(OVER, 1)
        await scene.until(RUNNING, 2)
        await scene.kill(2)
        assert (await scene.until(OVER, 2)).ending is Ending.KILLED


async def test_no_task_is_lost_with_the_data_of_redis(scene: Scene) -> None:
    async with scene.running():
        for number in range(1, 31):
            await scene.add(number)
            await scene.broker.enqueue([number])
            if number % 10 == 0:
                await scene.broker._redis.flushall()
        await scene.until(OVER, *range(1, 31))
    assert len(scene.executor.starts) == len(set(scene.executor.starts)) == 30


async def test_junk_in_redis_stops_no_service(scene: Scene) -> None:
    redis, keys = scene.broker._redis, scene.broker._keys
    async with scene.running():
        await redis.rpush(keys.queue, "x", "-1", "1.5", "9" * 40, "", "\u00b2", "{}", "999999")
        for hint in ("ended \u00b2:1", "ended x", "", "\0", "ended " + "1:1 " * 1000):
            await redis.publish(keys.scheduler, hint)
            await redis.publish(keys.watcher, hint)
        await redis.rpush(keys.queue, *["1"] * 100)
        await scene.add(1)
        await scene.until(OVER)
    assert len(scene.executor.starts) == 1


# --- starts that go wrong -------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["lose_answer", "only_create"])
async def test_a_start_whose_answer_was_lost_is_retried_and_runs_once(scene: Scene, fault: str) -> None:
    handle = await scene.add(1, cmd="sleep 60")
    getattr(scene.executor.faults, fault).add(handle.name)
    async with scene.running(scene.scheduler()):
        task = await scene.until(RUNNING)
    assert task.attempt == 1
    assert scene.executor.starts == [handle]


async def test_a_node_lost_during_a_start_gets_the_same_attempt_when_it_is_back(scene: Scene) -> None:
    handle, gate = await scene.add(1, cmd="sleep 60"), asyncio.Event()
    scene.executor.faults.hang["start"] = gate
    async with scene.running(scene.scheduler()):
        await scene.until(STARTING)
        scene.executor.faults.down[samples.NODE] = "gone"
        gate.set()
        await waiting.until(lambda: _count(scene, "prepare") > 1, "the start was tried again")
        assert (await scene.task()).attempt == 1
        scene.executor.faults.down.clear()
        task = await scene.until(RUNNING)
    assert task.attempt == 1
    assert scene.executor.starts == [handle]


def _count(scene: Scene, call: str) -> int:
    return len([name for name, _ in scene.executor.calls if name == call])


@pytest.mark.parametrize("step", ["refuse_prepare", "refuse_start"])
async def test_a_rejected_start_ends_the_task_with_the_reason_and_frees_its_room(scene: Scene, step: str) -> None:
    handle = await scene.add(1, cpu=8.0)
    getattr(scene.executor.faults, step)[handle.name] = errors.ImageNotFound("there is no image busybox:latest")
    async with scene.running():
        task = await scene.until(OVER)
        assert (task.ending, task.exit_code, task.settled) == (Ending.START_FAILED, None, True)
        assert task.reason == "there is no image busybox:latest"
        await scene.add(2, cpu=8.0)
        await scene.until(OVER, 2)
    assert await scene.stores.usage.of_task(1) == []


# --- kills ---------------------------------------------------------------------------------------------


async def test_a_pending_task_is_killed_without_being_started(scene: Scene) -> None:
    await scene.add(1, cpu=64.0)
    await scene.add(2, TaskStatus.CREATED)
    async with scene.running():
        for number in (1, 2):
            await scene.kill(number)
            task = await scene.until(OVER, number)
            assert (task.ending, task.exit_code, task.started_at) == (Ending.KILLED, 137, None)
    assert scene.executor.starts == []


async def test_a_task_that_is_to_be_killed_is_not_placed(scene: Scene) -> None:
    await scene.add(1, intent=Intent.KILL)
    await scene.add(2, cmd="exit 0")
    async with scene.running(scene.scheduler()):
        await scene.until(RUNNING, 2)
    assert (await scene.task(1)).status is PENDING


async def test_a_task_whose_image_is_being_pulled_is_killed_without_being_started(scene: Scene) -> None:
    handle = await scene.add(1)
    scene.executor.faults.hang["prepare"] = asyncio.Event()
    async with scene.running():
        await scene.until(STARTING)
        await scene.kill()
        task = await scene.until(OVER)
    assert (task.ending, task.exit_code) == (Ending.KILLED, 137)
    assert scene.executor.starts == []
    assert scene.executor.state(handle) is None


async def test_a_task_that_is_killed_just_as_it_starts_is_stopped(scene: Scene) -> None:
    handle, gate = await scene.add(1, cmd="sleep 60"), asyncio.Event()
    scene.executor.faults.hang["start"] = gate
    async with scene.running():
        await scene.until(STARTING)
        await scene.kill()
        gate.set()
        task = await scene.until(OVER)
        await scene.settled()
    assert (task.ending, task.exit_code) == (Ending.KILLED, 137)
    assert handle not in scene.executor.alive


async def test_a_task_killed_while_its_node_was_unreachable_never_runs(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.scheduler.audit.FORGOTTEN", 0.5)
    scheduler, gate = scene.scheduler(), asyncio.Event()
    await scene.add(1, cmd="sleep 60")
    scene.executor.faults.hang["start"] = gate
    async with scene.running(scheduler, scene.watcher()):
        await waiting.until(lambda: _count(scene, "start"), "it is being started")
        scene.executor.faults.down[samples.NODE] = "gone"
        gate.set()
        await scene.kill()
        # Given up, because it is not wanted; the node cannot say whether it runs, so that is not its end yet.
        await waiting.until(lambda: not scheduler._dispatcher.under_way, "the start was given up")
        scene.executor.faults.down.clear()
        assert (await scene.until(OVER)).ending is Ending.KILLED
    assert scene.executor.starts == []


# --- leaders ------------------------------------------------------------------------------------------------


async def test_a_start_that_a_leader_left_is_adopted_by_the_next(scene: Scene) -> None:
    handle = await scene.add(1, cmd="sleep 60")
    scene.executor.faults.hang["start"] = asyncio.Event()
    async with scene.running(scene.scheduler()):
        await waiting.until(lambda: _count(scene, "start"), "the first leader starts it")
    first = await scene.task()
    assert (first.status, first.attempt, scene.executor.starts) == (STARTING, 1, [])
    scene.executor.faults.hang.clear()
    async with scene.running(scene.scheduler()):
        task = await scene.until(RUNNING)
    assert task.attempt == 1
    assert scene.executor.starts == [handle]


async def test_a_run_that_a_leader_started_and_did_not_record_is_adopted(scene: Scene) -> None:
    """The leader died between the start and its record: the run exists, and the record says starting."""
    handle = await scene.add(1, STARTING, cmd="sleep 60", attempt=1, placement=samples.placement())
    await scene.executor.start(
        types.Run(handle, "busybox:latest", 1, 1, (), 1.0, 1024**3, str(scene.settings.shared_dir), False)
    )
    async with scene.running():
        task = await scene.until(RUNNING)
    assert task.attempt == 1
    assert scene.executor.starts == [handle]


async def test_of_two_schedulers_one_leads_and_the_other_takes_over(scene: Scene) -> None:
    first, second = scene.scheduler(), scene.scheduler()
    async with scene.running(second):
        async with scene.running(first):
            await waiting.until(lambda: first.leads or second.leads, "one of them leads")
            assert not (first.leads and second.leads)
            await scene.add(1, cmd="sleep 60")
            await scene.until(RUNNING, 1)
        await waiting.until(lambda: second.leads, "the one that is left leads")
        await scene.add(2, cmd="sleep 60")
        await scene.until(RUNNING, 2)
    assert len(scene.executor.starts) == 2


async def test_two_schedulers_that_believe_to_lead_start_nothing_twice(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Safety does not depend on the lease: here every scheduler gets it."""

    async def give(name: str, holder: str, *, seconds: float, url: str | None = None) -> Lease:
        return Lease(name, holder, 1, time.monotonic() + 3600)

    monkeypatch.setattr(scene.stores.leases, "acquire", give)
    numbers = range(1, 61)
    for number in numbers:
        await scene.add(number, cmd="exit 0", cpu=0.1, ram=0.01)
    async with scene.running(scene.scheduler(), scene.scheduler(), scene.watcher(), scene.watcher()):
        await scene.broker.enqueue(list(numbers))
        await scene.until(OVER, *numbers)
        await scene.settled(*numbers)
    assert len(scene.executor.starts) == len(set(scene.executor.starts)) == len(numbers)
    for number in numbers:
        task = await scene.task(number)
        assert (task.attempt, task.ending, task.exit_code) == (1, Ending.EXITED, 0)
        assert len(await scene.stores.usage.of_task(number)) == 1


# --- plans that are not carried out --------------------------------------------------------------------------


async def test_a_plan_whose_write_got_no_answer_is_planned_again_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One write fails, one succeeds with a lost answer: no task is lost or started twice."""
    write, calls = scene.stores.tasks.transition_many, []

    async def unreliable(moves: Sequence[Transition]) -> set[int]:
        if moves and moves[0].new is STARTING:
            calls.append(len(moves))
            if len(calls) == 1:
                raise errors.StoreUnavailable("not done")
            if len(calls) == 2:
                await write(moves)
                raise errors.StoreUnavailable("done, but the answer was lost")
        return await write(moves)

    monkeypatch.setattr(scene.stores.tasks, "transition_many", unreliable)
    for number in (1, 2):
        await scene.add(number, cmd="sleep 60", cpu=4.0)
    await scene.add(3, cmd="sleep 60", cpu=4.0)
    async with scene.running(scene.scheduler()):
        await scene.until(RUNNING, 1, 2, timeout=10)
        assert (await scene.task(3)).status is PENDING  # the room of what was placed unseen was not given away
    assert sorted(handle.task_id for handle in scene.executor.starts) == [1, 2]
    assert [(await scene.task(number)).attempt for number in (1, 2)] == [1, 1]


async def test_no_node_is_ever_given_more_than_it_has(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    most, begin = 0, scene.executor.start

    async def start(run: types.Run) -> float:
        nonlocal most
        at = await begin(run)
        most = max(most, len(scene.executor.alive))
        return at

    monkeypatch.setattr(scene.executor, "start", start)
    numbers = range(1, 41)
    for number in numbers:
        await scene.add(number, cmd="sleep 0.05", cpu=2.0)
    async with scene.running():
        await scene.broker.enqueue(list(numbers))
        await scene.until(OVER, *numbers, timeout=40)
    assert most == 4  # of a node with eight cores, and all of it was used


async def test_tasks_start_in_order_of_submission(scene: Scene) -> None:
    for number in (3, 1, 2):
        await scene.add(number, cmd="sleep 0.05", cpu=8.0)
    async with scene.running():
        await scene.until(OVER, 1, 2, 3)
    assert [handle.task_id for handle in scene.executor.starts] == [3, 1, 2]


async def test_a_task_without_room_has_a_reason_and_starts_on_a_new_node(scene: Scene) -> None:
    await scene.add(1, cpu=64.0)
    shape = (await scene.task()).shape

    async def verdict() -> StoredReason | None:
        return (await scene.stores.pending_reasons.get_many([shape])).get(shape)

    async with scene.running():
        found = await waiting.until(verdict, "there is a verdict on the shape")
        assert "can never run here" in found.reason
        assert "64 cpu" in found.reason
        assert "8 cpu (node1)" in found.reason
        scene.executor.reports[samples.NODE] = samples.report(cpus=64.0)
        await scene.until(OVER)


async def test_reasons_are_written_seldom_however_many_cycles_run(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    puts, cycles = 0, 0
    put, run = scene.stores.pending_reasons.put, cycle.Cycle.run

    async def count_put(*args: Any, **options: Any) -> None:
        nonlocal puts
        puts += 1
        await put(*args, **options)

    async def count_cycle(self: cycle.Cycle, *, epoch: int) -> bool:
        nonlocal cycles
        cycles += 1
        return await run(self, epoch=epoch)

    monkeypatch.setattr(scene.stores.pending_reasons, "put", count_put)
    monkeypatch.setattr(cycle.Cycle, "run", count_cycle)
    for number in range(1, 21):
        await scene.add(number, cpu=64.0)
    began = time.monotonic()
    async with scene.running(scene.scheduler()):

        async def hammered() -> bool:
            await scene.broker.enqueue([1])
            return cycles >= 30

        await waiting.until(hammered, "there were thirty cycles")
    assert 1 <= puts <= 2 + (time.monotonic() - began) / refresh.AGE
