"""The watcher's handling of unreachable and rebooted nodes, on real stores with a misbehaving executor."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from services.scheduler.service import SchedulerService
from services.watcher.limits import disk_usage
from shared import clock
from shared.executors import types
from shared.lifecycle import Ending, Intent, TaskStatus
from shared.models.task import Cause, Task
from shared.settings import FailurePolicy
from shared.store import stores
from tests.integration.conftest import Scene
from tests.support import samples, waiting

pytestmark = pytest.mark.stores

STARTING, RUNNING, PENDING, OVER = TaskStatus.STARTING, TaskStatus.RUNNING, TaskStatus.PENDING, TaskStatus.OVER
N1, N2 = samples.NODE, "node2"
FOREVER = "sleep 3600"


def configure(scene: Scene, **changes: Any) -> None:
    """Configure the scene to lose a node within seconds."""
    values: dict[str, Any] = {
        "node_grace": 0.2,
        "node_lost_after": 1.0,
        "reconcile_seconds": 0.2,
        "failure_policy": FailurePolicy(strategy=3, skip_failed_nodes=True, delay=0.1),
        **changes,
    }
    scene.settings = scene.settings.model_copy(update=values)


async def running(scene: Scene, task_id: int = 1, *, node: str = N1, **fields: Any) -> types.Handle:
    """Add a task that is recorded as running, with its run."""
    values = {"attempt": 1, "placement": samples.placement(node), "started_at": clock.now(), **fields}
    await scene.add(task_id, RUNNING, **values)
    handle = types.Handle(node, task_id, 1)
    await scene.executor.start(types.Run(handle, "busybox:latest", 1, 1, (), 1.0, 1024**3, "/nowhere", False))
    return handle


def two_nodes(scene: Scene) -> None:
    """Configure two nodes, of which the second does not exist yet."""
    scene.executor.reports = {N1: samples.report(N1), N2: samples.report(N2)}
    scene.executor.faults.down[N2] = "not yet"


async def silences(scene: Scene) -> set[str]:
    return {silence.node for silence in await scene.stores.unreachable_nodes.list()}


async def is_silent(scene: Scene, node: str = N1) -> None:
    async def noted() -> bool:
        return node in await silences(scene)

    await waiting.until(noted, f"the silence of {node} is noted")


async def answers(scene: Scene, node: str = N1) -> None:
    async def gone() -> bool:
        return node not in await silences(scene)

    await waiting.until(gone, f"{node} is known to answer")


# --- unreachable nodes -----------------------------------------------------------------------------------


async def test_a_node_that_comes_back_in_time_has_lost_nothing(scene: Scene) -> None:
    configure(scene, node_lost_after=3600.0)
    ended, goes_on = await running(scene, 1, restarts=3), await running(scene, 2, restarts=3)
    async with scene.running(scene.watcher()):
        scene.executor.faults.down[N1] = "gone"
        await is_silent(scene)
        scene.executor.exit(ended, 5)
        scene.executor.faults.down.clear()
        assert (await scene.until(OVER)).exit_code == 5
        await answers(scene)
    assert (await scene.task(2)).status is RUNNING
    assert list(scene.executor.alive) == [goes_on]


async def test_a_task_of_a_lost_node_is_restarted_elsewhere_and_the_old_run_removed_when_it_comes_back(
    scene: Scene,
) -> None:
    configure(scene)
    two_nodes(scene)
    await scene.add(1, cmd=FOREVER, restarts=1)
    async with scene.running():
        first = await scene.until(RUNNING)
        scene.executor.faults.down = {N1: "gone"}
        old, new = types.Handle(N1, 1, 1), types.Handle(N2, 1, 2)
        await waiting.until(lambda: new in scene.executor.alive, "it runs elsewhere")
        task = await scene.until(RUNNING)
        scene.executor.exit(old, 0)
        scene.executor.faults.down.clear()
        scene.executor.resync(N1)
        await waiting.until(lambda: scene.executor.state(old) is None, "the old run is removed")
        assert (await scene.task()).status is RUNNING
        scene.executor.exit(new, 3)
        over = await scene.until(OVER)
        await scene.settled()
    assert first.placement is not None
    assert first.placement.node == N1
    assert (over.ending, over.exit_code, over.attempt) == (Ending.EXITED, 3, 2)
    assert (task.failure.count, task.failure.nodes, task.avoid) == (1, [N1], [N1])
    assert task.failure.reason[0].startswith(f"node {N1} did not answer for ")
    assert [row.id for row in await scene.stores.usage.of_task(1)] == ["1-1", "1-2"]
    assert scene.executor.starts == [old, new]


async def test_nothing_is_placed_on_a_node_that_comes_back_before_the_old_run_is_removed(scene: Scene) -> None:
    configure(scene, failure_policy=FailurePolicy(strategy=3, delay=0.1))
    await scene.add(1, cmd=FOREVER, restarts=1)
    old, new = types.Handle(N1, 1, 1), types.Handle(N1, 1, 2)
    async with scene.running():
        await scene.until(RUNNING)
        scene.executor.faults.down[N1] = "gone"
        await scene.until(PENDING)
        scene.executor.faults.hang["remove"] = gate = asyncio.Event()
        scene.executor.faults.down.clear()
        await waiting.until(lambda: ("remove", old) in scene.executor.calls, "the old run is being removed")
        assert new not in scene.executor.starts
        gate.set()
        await waiting.until(lambda: new in scene.executor.alive, "it runs again")
        assert old not in scene.executor.alive
    assert scene.executor.calls.index(("remove", old)) < scene.executor.calls.index(("start", new))


async def test_a_task_that_may_not_be_restarted_is_over_and_settled_before_its_node_is_back(scene: Scene) -> None:
    configure(scene)
    handle = await running(scene)
    async with scene.running(scene.watcher()):
        scene.executor.faults.down[N1] = "gone"
        task = await scene.until(OVER)
        await scene.settled()
        assert handle in scene.executor.alive
        scene.executor.faults.down.clear()
        await waiting.until(lambda: scene.executor.state(handle) is None, "the old run is removed")
    assert (task.ending, task.exit_code, task.failure.count) == (Ending.NODE_FAILED, 137, 1)
    assert await scene.task() == task.model_copy(update={"settled": True})
    assert len(await scene.stores.usage.of_task(1)) == 1


async def test_the_files_of_a_run_count_when_its_node_is_lost(scene: Scene) -> None:
    configure(scene)
    await running(scene, restarts=3)
    task = await scene.task()
    watcher = scene.watcher()
    path = await watcher._directories.prepare(task.place, uid=task.user.uid, gid=task.user.gid, script="exit 4")
    (path / ".godocker" / "started.1").write_text("1\n")
    (path / ".godocker" / "exit.1").write_text("4\n")
    async with scene.running(watcher):
        scene.executor.faults.down[N1] = "gone"
        over = await scene.until(OVER)
    assert (over.ending, over.exit_code, over.failure.count) == (Ending.EXITED, 4, 0)


async def test_a_start_on_a_node_that_never_answers_is_given_up_and_repeated_elsewhere(scene: Scene) -> None:
    configure(scene)
    two_nodes(scene)
    await scene.add(1, cmd="sleep 0", restarts=1)
    scene.executor.faults.hang["start"] = gate = asyncio.Event()
    scheduler = scene.scheduler()
    async with scene.running(scheduler, scene.watcher()):
        await waiting.until(lambda: ("start", types.Handle(N1, 1, 1)) in scene.executor.calls, "the start was tried")
        scene.executor.faults.down = {N1: "gone"}
        gate.set()
        over = await scene.until(OVER)
        assert (over.exit_code, over.attempt, over.failure.nodes) == (0, 2, [N1])
        await waiting.until(lambda: not under_way(scheduler), "the scheduler has given up the first attempt")
    assert scene.executor.starts == [types.Handle(N2, 1, 2)]
    assert [row.id for row in await scene.stores.usage.of_task(1)] == ["1-2"]


def under_way(scheduler: SchedulerService) -> frozenset[tuple[int, int]]:
    return scheduler._dispatcher.under_way


async def test_a_task_to_be_killed_on_a_lost_node_is_killed(scene: Scene) -> None:
    configure(scene)
    await running(scene, restarts=3)
    async with scene.running(scene.watcher()):
        scene.executor.faults.down[N1] = "gone"
        await is_silent(scene)
        await scene.kill()
        over = await scene.until(OVER)
    assert (over.ending, over.exit_code, over.failure.count) == (Ending.KILLED, 137, 0)


async def test_a_new_watcher_continues_the_count_and_tries_itself(scene: Scene) -> None:
    configure(scene, node_lost_after=600.0)
    await running(scene)
    await scene.stores.unreachable_nodes.note(N1, "gone", unheard=700.0, gap=1000.0)
    scene.executor.faults.down[N1] = "gone"
    async with scene.running(scene.watcher()):
        await scene.stores.database["tasks"].update_one({"_id": 1}, {"$inc": {"status_at": -700.0}})
        over = await scene.until(OVER)
    assert over.ending is Ending.NODE_FAILED
    tries = [call for call, handle in scene.executor.calls if call == "list"]
    assert len(tries) >= 2


async def test_a_new_watcher_records_an_answering_node_as_reachable(scene: Scene) -> None:
    configure(scene, node_lost_after=600.0)
    await running(scene)
    for _ in range(5):
        await scene.stores.unreachable_nodes.note(N1, "gone", unheard=700.0, gap=1000.0)
    async with scene.running(scene.watcher()):
        await answers(scene)
    assert (await scene.task()).status is RUNNING


async def test_only_time_with_failed_calls_counts_as_unreachable(opened: stores.Stores) -> None:
    async def note() -> tuple[int, int]:
        noted = await opened.unreachable_nodes.note(N1, "gone", unheard=4.0, gap=10.0)
        return round(noted.seconds), noted.tries

    async def passes(seconds: float) -> None:
        await opened.database["silences"].update_one({"_id": N1}, {"$inc": {"at": -seconds}})

    assert await note() == (4, 1)
    await passes(6)
    assert await note() == (10, 2)
    await passes(3600)  # no watcher tried, or the clock jumped
    assert await note() == (20, 1)
    await passes(-3600)
    assert await note() == (20, 2)
    (silence,) = await opened.unreachable_nodes.list()
    assert silence.since < silence.at
    assert silence.reason == "gone"
    await opened.unreachable_nodes.end(N1)
    assert await opened.unreachable_nodes.list() == []


async def test_tasks_of_a_node_that_is_no_longer_configured_are_ended(scene: Scene) -> None:
    configure(scene)
    await scene.add(1, RUNNING, attempt=1, placement=samples.placement("removed"), started_at=clock.now(), restarts=1)
    await scene.add(
        2, OVER, attempt=1, placement=samples.placement("removed"), ended_at=1.0, exit_code=0, settled=False
    )
    async with scene.running():
        await waiting.until(lambda: types.Handle(N1, 1, 2) in scene.executor.starts, "it was started elsewhere")
        await scene.settled(2)
        await answers(scene, "removed")
    assert (await scene.task()).failure.nodes == ["removed"]


async def test_a_run_that_cannot_be_removed_does_not_make_a_node_unreachable(scene: Scene) -> None:
    configure(scene)
    stray = types.Handle(N1, 99, 1)
    await scene.executor.start(types.Run(stray, "busybox:latest", 1, 1, (), 1.0, 1024**3, "/nowhere", False))
    scene.executor.faults.unkillable.add(stray.name)
    handle = await running(scene)
    async with scene.running(scene.watcher()):
        await waiting.until(lambda: scene.executor.calls.count(("remove", stray)) > 2, "it was tried more than once")
        assert not await silences(scene)
        scene.executor.exit(handle, 0)
        await scene.until(OVER)


# --- reboots ------------------------------------------------------------------------------


@pytest.mark.parametrize("wiped", [True, False])
@pytest.mark.parametrize("silent", [True, False])
async def test_a_run_that_its_node_ended_is_restarted(scene: Scene, wiped: bool, silent: bool) -> None:
    configure(scene)
    scene.executor.reports = {N1: samples.report(N1), N2: samples.report(N2)}
    await running(scene, restarts=1)
    scene.executor.faults.drop_events = silent
    async with scene.running():
        scene.executor.reboot(N1, wiped=wiped)
        await waiting.until(lambda: types.Handle(N2, 1, 2) in scene.executor.starts, "it was made again")
        task = await scene.task()
    assert task.failure.nodes == [N1]
    assert task.failure.reason[0].startswith(f"the Docker Engine of {N1} was restarted while it ran")
    assert [row.id for row in await scene.stores.usage.of_task(1)][:1] == ["1-1"]


@pytest.mark.parametrize("restarts", [0, 1])
async def test_a_node_that_fails_again_and_again_ends_a_task_in_the_end(scene: Scene, restarts: int) -> None:
    configure(scene, failure_policy=FailurePolicy(strategy=3, delay=0.1))
    await scene.add(1, cmd=FOREVER, restarts=restarts)
    async with scene.running():
        for attempt in range(1, restarts + 2):
            handle = types.Handle(N1, 1, attempt)
            await waiting.until(lambda handle=handle: handle in scene.executor.alive, f"attempt {attempt} runs")
            await scene.until(RUNNING)
            scene.executor.reboot(N1)
        over = await scene.until(OVER)
        await scene.settled()
    assert (over.ending, over.attempt, over.failure.count) == (Ending.NODE_FAILED, restarts + 1, restarts + 1)
    assert len(await scene.stores.usage.of_task(1)) == restarts + 1


async def test_a_command_s_own_failure_is_no_reason_to_restart(scene: Scene) -> None:
    configure(scene)
    handle = await running(scene, restarts=3)
    async with scene.running(scene.watcher()):
        scene.executor.exit(handle, 137)
        over = await scene.until(OVER)
    assert (over.ending, over.exit_code, over.failure.count) == (Ending.EXITED, 137, 0)


async def test_a_run_that_its_engine_calls_running_is_over_when_its_wrapper_says_so(scene: Scene) -> None:
    configure(scene, reconcile_seconds=0.05)
    ended, goes_on = await running(scene, 1, restarts=3), await running(scene, 2)
    watcher = scene.watcher()
    for task_id in (1, 2):
        task = await scene.task(task_id)
        path = await watcher._directories.prepare(task.place, uid=task.user.uid, gid=task.user.gid, script="exit 137")
        (path / ".godocker" / "started.1").write_text("1\n")
    task = await scene.task(1)
    written = watcher._directories.path(task.place) / ".godocker" / "exit.1"
    written.write_text("137\n")
    os.utime(written, (0, 0))
    before = clock.now()
    async with scene.running(watcher):
        over = await scene.until(OVER)
        await scene.settled()
    assert over.ended_at is not None
    assert over.ended_at >= before, "it is charged until it is removed, whatever time the file has"
    assert (over.ending, over.exit_code, over.failure.count) == (Ending.EXITED, 137, 0)
    assert scene.executor.state(ended) is None
    assert list(scene.executor.alive) == [goes_on]


# --- limits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "most"), [(0.5, None), (None, 0.5), (3600.0, 0.5)])
async def test_a_task_that_ran_for_as_long_as_it_may_is_killed(
    scene: Scene, asked: float | None, most: float | None
) -> None:
    configure(scene, maxlifespan=most, lifespan_grace=0.1)
    handle = await running(scene, lifespan=asked)
    async with scene.running(scene.watcher()):
        over = await scene.until(OVER)
        await scene.settled()
    assert (over.ending, over.exit_code) == (Ending.LIFESPAN_REACHED, 137)
    assert over.reason == "ran for 0.5 seconds, the longest it may (maxlifespan)"
    assert (over.intent, over.cause) == (None, None)
    assert ("stop", handle) in scene.executor.calls


async def test_a_limit_that_is_changed_while_it_runs_takes_effect(scene: Scene) -> None:
    configure(scene, lifespan_grace=0.1)
    await running(scene, lifespan=3600.0)
    async with scene.running(scene.watcher()):
        await waiting.until(lambda: any(call == "list" for call, _ in scene.executor.calls), "it was listed")
        assert (await scene.task()).status is RUNNING
        await scene.stores.tasks.set_dynamic(1, "maxlifespan", "1s")
        over = await scene.until(OVER)
    assert over.ending is Ending.LIFESPAN_REACHED


async def test_an_owner_s_kill_has_precedence_and_is_never_withdrawn(scene: Scene) -> None:
    await running(scene)
    await scene.kill()
    cause = Cause(ending=Ending.LIFESPAN_REACHED, reason="too long")
    tasks = scene.stores.tasks
    assert not await tasks.expire(1, 1, cause, at=clock.now())
    for intent in (Intent.SUSPEND, Intent.RESUME, Intent.RESCHEDULE):
        assert await tasks.ask(1, intent, at=clock.now(), statuses=[RUNNING]) is None
    task = await scene.task()
    assert (task.intent, task.cause) == (Intent.KILL, None)


async def test_a_task_whose_directory_holds_too_much_is_killed(scene: Scene) -> None:
    configure(scene, task_disk_quota=64 * 1024, disk_seconds=0.1)
    await running(scene, 1)
    await running(scene, 2)
    watcher = scene.watcher()
    for task_id, size in ((1, 200), (2, 8)):
        task: Task = await scene.task(task_id)
        path = await watcher._directories.prepare(task.place, uid=task.user.uid, gid=task.user.gid, script="x")
        (path / "file").write_bytes(b"x" * size * 1024)
        assert disk_usage.measure(path, enough=10**9) >= size * 1024
    async with scene.running(watcher):
        over = await scene.until(OVER)
    assert (over.ending, over.exit_code) == (Ending.QUOTA_REACHED, 137)
    assert (over.reason or "").endswith("KB or more, it may hold 64 KB")
    assert (await scene.task(2)).intent is None


async def test_a_run_that_cannot_be_killed_is_reported(scene: Scene) -> None:
    configure(scene)
    handle = await running(scene)
    scene.executor.faults.unkillable.add(handle.name)
    async with scene.running():
        await scene.kill()

        async def told() -> bool:
            nodes = await scene.stores.nodes.list()
            return "cannot end it" in ((await scene.task()).reason or "") and any(node.stuck == 1 for node in nodes)

        await waiting.until(told, "the task and its node say so")
        scene.executor.faults.unkillable.clear()
        over = await scene.until(OVER)
        assert over.ending is Ending.KILLED

        async def forgotten() -> bool:
            return all(not node.stuck for node in await scene.stores.nodes.list())

        await waiting.until(forgotten, "the node has nothing stuck any more")


async def test_a_child_killed_for_memory_is_reported_where_the_command_succeeded(scene: Scene) -> None:
    configure(scene, reconcile_seconds=60.0)
    handle = await running(scene)
    async with scene.running(scene.watcher()):
        await waiting.until(lambda: any(call == "list" for call, _ in scene.executor.calls), "it was listed")
        scene.executor.exit(handle, 0, out_of_memory=True)
        over = await scene.until(OVER)
    assert (over.ending, over.exit_code) == (Ending.EXITED, 0)
    assert "memory limit of 1 GB" in (over.reason or "")
