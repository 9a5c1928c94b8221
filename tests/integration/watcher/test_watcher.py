"""The watcher on real stores with a misbehaving executor: every end is found, accounted once and cleaned up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.watcher.reconcile import accounting
from shared import clock, errors
from shared.executors import types
from shared.lifecycle import Ending, Intent, TaskStatus
from shared.models.task import Array, Dependencies
from shared.models.usage import UsageRow
from shared.store.tasks.lists import Filter
from tests.integration.conftest import Scene
from tests.support import samples, waiting
from tests.support.servers.stores import StoreServer

pytestmark = pytest.mark.stores

STARTING, RUNNING, OVER = TaskStatus.STARTING, TaskStatus.RUNNING, TaskStatus.OVER


async def running(scene: Scene, task_id: int = 1, *, attempt: int = 1, status: TaskStatus = RUNNING) -> types.Handle:
    """Add a task that is recorded as placed, with a run that lasts until the test ends it."""
    started = samples.NOW if status is RUNNING else None
    await scene.add(task_id, status, attempt=attempt, placement=samples.placement(), started_at=started)
    return await start(scene, task_id, attempt)


async def start(scene: Scene, task_id: int, attempt: int = 1) -> types.Handle:
    handle = types.Handle(samples.NODE, task_id, attempt)
    await scene.executor.start(types.Run(handle, "busybox:latest", 1, 1, (), 1.0, 1024**3, "/nowhere", False))
    return handle


@pytest.mark.parametrize("status", [STARTING, RUNNING])
@pytest.mark.parametrize("code", [0, 3, 124])
async def test_an_end_is_recorded_counted_and_cleaned_up(scene: Scene, status: TaskStatus, code: int) -> None:
    handle = await running(scene, status=status)
    async with scene.running(scene.watcher()):
        await scene.until(RUNNING)
        scene.executor.exit(handle, code)
        task = await scene.until(OVER)
        await scene.settled()
    assert (task.ending, task.exit_code, task.reason) == (Ending.EXITED, code, None)
    assert scene.executor.state(handle) is None
    assert [row.id for row in await scene.stores.usage.of_task(1)] == ["1-1"]


async def test_documents_that_are_no_tasks_stop_nobody_and_nothing_is_done_to_them(scene: Scene) -> None:
    runs_on = await running(scene, 2)
    await scene.add(1)
    await scene.add(3, OVER, placement=samples.placement(), ended_at=samples.NOW, settled=False, told=0)
    await scene.add(5, depends=Dependencies(any=[2]), waiting_on=[2])
    await scene.add(6, array=Array(start=1, end=3, step=1, count=3, first_id=7))
    tasks = scene.stores.database["tasks"]
    await tasks.update_many({}, {"$set": {"spec": "none"}})
    before = await tasks.find().sort("_id", 1).to_list(None)
    async with scene.running():
        await scene.add(4)
        await scene.broker.enqueue([1, 4])
        await scene.until(OVER, 4)
        await scene.settled(4)
    assert [task.id async for task in scene.stores.lists.over(Filter("alice"), limit=9)] == [4]
    assert await tasks.find({"_id": {"$ne": 4}}).sort("_id", 1).to_list(None) == before
    assert scene.executor.state(runs_on) is types.RunState.RUNNING


async def test_an_end_without_an_event_is_found_by_the_list(scene: Scene) -> None:
    handle = await running(scene)
    scene.executor.faults.drop_events = True
    async with scene.running(scene.watcher()):
        await waiting.until(lambda: ("list", types.Handle(samples.NODE, 0, 0)) in scene.executor.calls, "it was listed")
        scene.executor.exit(handle, 4)
        assert (await scene.until(OVER)).exit_code == 4
        await scene.settled()


async def test_a_run_that_ended_while_nobody_watched_is_found(scene: Scene) -> None:
    scene.executor.exit(await running(scene), 5)
    async with scene.running(scene.watcher()):
        assert (await scene.until(OVER)).exit_code == 5


@pytest.mark.parametrize("silent", [True, False])
async def test_a_run_that_an_outsider_removed_ends_with_a_reason(scene: Scene, silent: bool) -> None:
    handle = await running(scene)
    scene.executor.faults.drop_events = silent
    async with scene.running(scene.watcher()):
        await waiting.until(lambda: any(call == "list" for call, _ in scene.executor.calls), "it was listed")
        scene.executor.vanish(handle)
        task = await scene.until(OVER)
        await scene.settled()
    assert task.exit_code == 137
    assert task.reason
    assert len(await scene.stores.usage.of_task(1)) == 1


async def test_a_start_that_failed_and_is_undone_is_no_end(scene: Scene) -> None:
    """The engine reports a container that ended with 128 and is gone: its starter creates it again."""
    await scene.add(1, STARTING, attempt=1, placement=samples.placement())
    handle = types.Handle(samples.NODE, 1, 1)
    async with scene.running(scene.watcher()):
        await waiting.until(lambda: scene.executor._listeners[samples.NODE], "it listens")
        scene.executor._emit(types.Event(samples.NODE, types.EventKind.EXITED, handle, 128, clock.now()))
        await waiting.until(lambda: ("inspect", handle) in scene.executor.calls, "it looked what that is")
        await start(scene, 1)
        scene.executor.exit(handle, 3)
        task = await scene.until(OVER)
    assert (task.ending, task.exit_code, task.attempt) == (Ending.EXITED, 3, 1)


async def test_a_run_that_a_list_omits_is_inspected_once_more(scene: Scene) -> None:
    handle = await running(scene)
    scene.executor.faults.omit.add(handle.name)
    async with scene.running(scene.watcher()):
        await waiting.until(lambda: ("inspect", handle) in scene.executor.calls, "it was looked for")
        assert (await scene.task()).status is RUNNING
        scene.executor.exit(handle, 6)
        assert (await scene.until(OVER)).exit_code == 6


@pytest.mark.parametrize("when", ["before its end", "after its end"])
async def test_a_child_killed_for_memory_is_reported_whenever_the_event_arrives(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    listing, go_on = asyncio.Event(), asyncio.Event()
    executor, listed = scene.executor, scene.executor.list

    async def slow(node: str) -> Sequence[types.Observation]:
        seen = await listed(node)
        listing.set()
        await go_on.wait()
        return seen

    monkeypatch.setattr(executor, "list", slow)
    memory = types.Event(samples.NODE, types.EventKind.OUT_OF_MEMORY, types.Handle(samples.NODE, 1, 1), at=samples.NOW)
    async with scene.running(scene.watcher()):
        await listing.wait()
        handle = await running(scene)  # which the list in progress does not have
        if when == "before its end":
            executor._emit(memory)
            await asyncio.sleep(0.05)
            listing.clear()
            go_on.set()
            await listing.wait()
            executor.exit(handle, 0)
        else:
            executor.exit(handle, 0)
            executor._emit(memory)
        go_on.set()
        task = await scene.until(OVER)
    assert (task.exit_code, task.reason) == (
        0,
        "it ended well, but a process of it was killed at its memory limit of 1 GB",
    )


async def test_memory_is_named_as_the_reason(scene: Scene) -> None:
    handle = await running(scene)
    async with scene.running(scene.watcher()):
        scene.executor.exit(handle, 137, out_of_memory=True)
        task = await scene.until(OVER)
    assert task.ending is Ending.OUT_OF_MEMORY
    assert "1 GB" in (task.reason or "")


async def test_a_kill_stops_the_run_and_then_ends_the_task(scene: Scene) -> None:
    handle = await running(scene)
    async with scene.running(scene.watcher()):
        await scene.kill()
        task = await scene.until(OVER)
        await scene.settled()
    assert (task.ending, task.exit_code, task.intent) == (Ending.KILLED, 137, None)
    assert ("stop", handle) in scene.executor.calls
    assert scene.executor.state(handle) is None


async def test_a_kill_of_a_task_being_rescheduled_is_a_kill_whenever_its_end_is_reported(scene: Scene) -> None:
    """It had ended by that stop, with its own code for it, before the kill was requested: it did not exit by itself."""
    handle = await running(scene)
    asked = await scene.stores.tasks.ask(1, Intent.RESCHEDULE, at=clock.now(), statuses=[RUNNING])
    assert asked is not None
    scene.executor.exit(handle, 7)
    await asyncio.sleep(0.05)  # more than the tick of a clock
    await scene.kill()
    async with scene.running(scene.watcher()):
        task = await scene.until(OVER)
        await scene.settled()
    assert (task.ending, task.exit_code, task.attempt) == (Ending.KILLED, 137, 1)


async def test_a_task_that_ended_before_its_kill_keeps_its_exit_code(scene: Scene) -> None:
    handle = await running(scene)
    scene.executor.exit(handle, 3)
    await asyncio.sleep(0.05)  # more than the tick of a clock
    await scene.kill()
    async with scene.running(scene.watcher()):
        task = await scene.until(OVER)
    assert (task.ending, task.exit_code) == (Ending.EXITED, 3)


async def test_a_task_is_not_called_killed_before_its_run_has_ended(scene: Scene) -> None:
    handle, gate = await running(scene), asyncio.Event()
    scene.executor.faults.hang["stop"] = gate
    async with scene.running(scene.watcher()):
        await scene.kill()
        await waiting.until(lambda: ("stop", handle) in scene.executor.calls, "the stop was begun")
        assert (await scene.task()).status is RUNNING
        gate.set()
        assert (await scene.until(OVER)).ending is Ending.KILLED
    assert [call for call, _ in scene.executor.calls].count("stop") == 1


async def test_a_run_that_cannot_be_killed_holds_up_no_other(scene: Scene) -> None:
    stuck, other = await running(scene, 1), await running(scene, 2)
    scene.executor.faults.unkillable.add(stuck.name)
    async with scene.running(scene.watcher()):
        await scene.kill(1)
        await waiting.until(lambda: ("stop", stuck) in scene.executor.calls, "it was tried")
        scene.executor.exit(other, 0)
        await scene.until(OVER, 2)
        assert (await scene.task(1)).status is RUNNING
        scene.executor.faults.unkillable.clear()
        assert (await scene.until(OVER, 1)).ending is Ending.KILLED


async def test_stray_runs_are_removed_and_others_left_alone(scene: Scene) -> None:
    unknown = await start(scene, 99)
    earlier = await start(scene, 1, attempt=1)
    current = await running(scene, 1, attempt=2)
    await scene.add(2, attempt=1)
    undone = await start(scene, 2)
    await scene.add(3, OVER, attempt=1, placement=samples.placement(), ended_at=samples.NOW)
    ended = await start(scene, 3)
    strays = [unknown, earlier, undone, ended]
    async with scene.running(scene.watcher()):
        await waiting.until(lambda: all(scene.executor.state(stray) is None for stray in strays), "strays are gone")
    assert list(scene.executor.alive) == [current]
    assert (await scene.task(1)).status is RUNNING
    assert (await scene.task(3)).exit_code is None


async def test_an_end_that_a_watcher_recorded_and_did_not_account_is_accounted_by_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, add = await running(scene), scene.stores.usage.add_many

    async def fail(rows: Sequence[UsageRow]) -> None:
        if rows:
            raise errors.StoreUnavailable("gone")

    monkeypatch.setattr(scene.stores.usage, "add_many", fail)
    async with scene.running(scene.watcher()):
        scene.executor.exit(handle, 0)
        await scene.until(OVER)
    assert not (await scene.task()).settled
    assert scene.executor.state(handle) is types.RunState.EXITED  # runs are accounted before they are removed
    monkeypatch.setattr(scene.stores.usage, "add_many", add)
    async with scene.running(scene.watcher(), scene.watcher()):
        await scene.settled()
    assert len(await scene.stores.usage.of_task(1)) == 1
    assert scene.executor.state(handle) is None


async def test_usage_that_was_accounted_and_not_settled_is_not_accounted_again(scene: Scene) -> None:
    await scene.add(
        1, OVER, attempt=1, placement=samples.placement(), started_at=1.0, ended_at=2.0, settled=False, cpu=2.0, ram=3.0
    )
    row = accounting.row_of(samples.ended(started_at=1.0, ended_at=2.0))
    assert row is not None
    await scene.stores.usage.add_many([row])
    async with scene.running(scene.watcher()):
        await scene.settled()
    assert await scene.stores.usage.of_task(1) == [row]


async def test_several_watchers_share_the_nodes_and_one_takes_over_from_another(scene: Scene) -> None:
    scene.executor.reports = {name: samples.report(name) for name in (samples.NODE, "node2", "node3")}
    first, second = scene.watcher(), scene.watcher()
    async with scene.running(second):
        async with scene.running(first):
            await waiting.until(lambda: len(first._held) + len(second._held) == 3, "every node is watched")
            assert not set(first._held) & set(second._held)
        await waiting.until(lambda: len(second._held) == 3, "the one that is left watches all")
        handle = await running(scene)
        scene.executor.exit(handle, 0)
        await scene.until(OVER)


async def test_an_unreachable_node_ends_none_of_its_tasks(scene: Scene) -> None:
    handle = await running(scene)
    scene.executor.faults.down[samples.NODE] = "gone"
    async with scene.running(scene.watcher()):
        await waiting.until(
            lambda: len([call for call, _ in scene.executor.calls if call == "list"]) > 2, "it was asked in vain"
        )
        assert (await scene.task()).status is RUNNING
        scene.executor.exit(handle, 7)
        scene.executor.faults.down.clear()
        assert (await scene.until(OVER)).exit_code == 7


@pytest.mark.parametrize("intent", ["dance", Intent.RUN.value])
async def test_an_unknown_intent_delays_no_other_task(scene: Scene, intent: str) -> None:
    """A newer gateway may write intents that this watcher does not know."""
    await running(scene, 1)
    await running(scene, 2)
    await scene.stores.database["tasks"].update_one({"_id": 1}, {"$set": {"intent": intent, "intent_at": samples.NOW}})
    async with scene.running(scene.watcher()):
        await scene.kill(2)
        assert (await scene.until(OVER, 2)).ending is Ending.KILLED


async def test_a_watcher_finds_kills_by_polling_without_redis(scene: Scene, redis_server: StoreServer) -> None:
    await running(scene)
    redis_server.kill()
    async with scene.running(scene.watcher()):
        await scene.kill()
        assert (await scene.until(OVER)).ending is Ending.KILLED
