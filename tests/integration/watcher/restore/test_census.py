"""After a restore nothing runs twice: runs are adopted before anything is placed or given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.watcher.reconcile.diff import Known
from services.watcher.restore import adoption
from shared import clock
from shared.executors import fake, types
from shared.lifecycle import ACTIVE, TRANSITIONS, Ending, Intent, TaskStatus
from shared.models.task import Array
from shared.rules import arrays
from tests.integration.conftest import Scene
from tests.support import samples, waiting

pytestmark = pytest.mark.stores

CREATED, PENDING, STARTING, RUNNING, OVER, ARCHIVED = TaskStatus
OTHER = "node2"


async def start(scene: Scene, task_id: int, attempt: int, *, node: str = samples.NODE) -> types.Handle:
    """Start a run that was placed after the backup."""
    handle = types.Handle(node, task_id, attempt)
    await scene.executor.start(types.Run(handle, "busybox:latest", 1, 1, (), 1.0, 1024**3, "/nowhere", False))
    return handle


async def restored(scene: Scene) -> None:
    await scene.stores.restorations.begin(at=clock.now(), of=samples.NOW)


async def is_over(scene: Scene) -> bool:
    return await scene.stores.restorations.current() is None


def placed(status: TaskStatus) -> dict[str, object]:
    return {"placement": samples.placement()} if status in (STARTING, RUNNING) else {}


@pytest.mark.parametrize("status", [CREATED, PENDING, STARTING, RUNNING])
async def test_a_run_that_the_backup_does_not_know_is_adopted_and_not_started_again(
    scene: Scene, status: TaskStatus
) -> None:
    attempt = 0 if status in (CREATED, PENDING) else 1
    await scene.add(1, status, attempt=attempt, **placed(status))
    handle = await start(scene, 1, attempt + 1)
    await restored(scene)
    async with scene.running():
        await waiting.until(lambda: is_over(scene), "all nodes were looked at")
        task = await scene.until(RUNNING)
        assert (task.attempt, task.placement and task.placement.node) == (attempt + 1, samples.NODE)
        scene.executor.exit(handle, 3)
        task = await scene.until(OVER)
        await scene.settled()
    assert (task.attempt, task.exit_code, task.ending) == (attempt + 1, 3, Ending.EXITED)
    assert scene.executor.starts == [handle]
    assert [row.id for row in await scene.stores.usage.of_task(1)] == [f"1-{attempt + 1}"]


async def test_a_run_that_ended_before_the_restore_is_recorded_with_its_exit_code(scene: Scene) -> None:
    await scene.add(1)
    handle = await start(scene, 1, 1)
    scene.executor.exit(handle, 7)
    await restored(scene)
    async with scene.running():
        assert (await scene.until(OVER)).exit_code == 7
        await scene.settled()
    assert scene.executor.starts == [handle]


async def test_an_attempt_is_not_given_up_while_a_later_one_runs_on_another_node(scene: Scene) -> None:
    """The backup has the first attempt on the first node; the second attempt runs on the second."""
    scene.executor.reports[OTHER] = replace(fake.NODE, name=OTHER)
    await scene.add(1, RUNNING, attempt=1, placement=samples.placement(), started_at=samples.NOW)
    handle = await start(scene, 1, 2, node=OTHER)
    scene.executor.faults.down[OTHER] = "not yet"
    await restored(scene)
    async with scene.running():
        await waiting.until(lambda: looked_at(scene, samples.NODE), "the first node was looked at")
        task = await scene.task()
        assert (task.status, task.attempt) == (RUNNING, 1), "nobody gives it up before the other node was looked at"
        scene.executor.faults.down.clear()

        async def adopted() -> bool:
            task = await scene.task()
            return task.status is RUNNING and task.attempt == 2 and task.placement is not None

        await waiting.until(adopted, "the second attempt is adopted")
        scene.executor.exit(handle, 0)
        assert (await scene.until(OVER)).exit_code == 0


async def looked_at(scene: Scene, node: str) -> bool:
    restoration = await scene.stores.restorations.current()
    return restoration is not None and node in restoration.seen


async def was_tried(scene: Scene, node: str) -> bool:
    return any(silence.node == node and silence.tries > 3 for silence in await scene.stores.unreachable_nodes.list())


async def test_nothing_is_placed_before_every_node_was_listed(scene: Scene) -> None:
    scene.executor.reports[OTHER] = replace(fake.NODE, name=OTHER)
    await scene.add(1)
    handle = await start(scene, 1, 1, node=OTHER)
    scene.executor.faults.down[OTHER] = "it boots"
    await restored(scene)
    async with scene.running():
        await waiting.until(lambda: looked_at(scene, samples.NODE), "the first node was looked at")
        await waiting.until(lambda: was_tried(scene, OTHER), "the other was tried again and again")
        assert (await scene.task()).status is PENDING
        scene.executor.faults.down.clear()
        task = await scene.until(RUNNING)
        assert task.placement is not None
        assert task.placement.node == OTHER
        scene.executor.exit(handle, 0)
        await scene.until(OVER)
    assert scene.executor.starts == [handle]


async def test_a_node_that_does_not_come_back_is_waited_for_no_longer_than_nodes_are(scene: Scene) -> None:
    scene.settings = scene.settings.model_copy(update={"node_grace": 0.5, "node_lost_after": 1.0})
    scene.executor.reports[OTHER] = replace(fake.NODE, name=OTHER)
    scene.executor.faults.down[OTHER] = "it is gone"
    await scene.add(1, cmd="sleep 600")
    await restored(scene)
    async with scene.running():
        await scene.until(RUNNING)


async def test_a_kill_in_the_backup_reaches_the_adopted_run(scene: Scene) -> None:
    await scene.add(1, RUNNING, attempt=1, placement=samples.placement(), intent=Intent.KILL, intent_at=samples.NOW)
    handle = await start(scene, 1, 2)
    await restored(scene)
    async with scene.running():
        assert (await scene.until(OVER)).ending is Ending.KILLED
        await waiting.until(lambda: scene.executor.state(handle) is None, "nothing of it is left")
    assert scene.executor.starts == [handle]


async def test_runs_of_tasks_submitted_after_the_backup_are_removed(scene: Scene) -> None:
    handle = await start(scene, 99, 1)
    await restored(scene)
    async with scene.running():
        await waiting.until(lambda: scene.executor.state(handle) is None, "it is removed")


async def test_a_child_that_was_not_made_when_the_backup_was_is_adopted(scene: Scene) -> None:
    await scene.add(10, cmd="sleep 600", array=Array(start=0, end=3, step=1, count=4, first_id=11))
    handle = await start(scene, 13, 1)
    await restored(scene)
    async with scene.running():
        task = await scene.until(RUNNING, 13)
        assert task.member is not None
        assert (task.member.parent, task.member.index) == (10, 2)
        children = [types.Handle(samples.NODE, task_id, 1) for task_id in (11, 12, 13, 14)]
        for child in children:
            await scene.until(RUNNING, child.task_id)
            scene.executor.exit(child, 0)
        assert (await scene.until(OVER, 10)).exit_code == 0
    assert sorted(started.task_id for started in scene.executor.starts) == [11, 12, 13, 14]
    assert scene.executor.starts[0] == handle


@pytest.mark.parametrize("status", [status for status in TaskStatus if status in ACTIVE])
def test_adoption_follows_the_edges_of_the_lifecycle(status: TaskStatus) -> None:
    run = samples.seen(1, 5)
    moves = []
    while status is not STARTING or not moves or moves[-1].next_attempt is None:
        task = samples.task(1, status, attempt=2)
        move = adoption.step(run, task, executor="fake", taken={}, now=1.0)
        assert move.new in TRANSITIONS[status]
        moves.append(move)
        status = move.new
    assert (moves[-1].next_attempt, len(moves)) == (5, 1 if len(moves) == 1 else 2)


def seen(*attempts: tuple[int, int]) -> Sequence[types.Observation]:
    return [types.Observation(types.Handle("node1", *one), types.RunState.RUNNING) for one in attempts]


@pytest.mark.parametrize(
    ("observed", "known", "expected"),
    [
        (seen((1, 1)), {1: Known(0, PENDING, True)}, [(1, 1)]),
        (seen((1, 1)), {1: Known(1, RUNNING, True)}, []),
        (seen((1, 1)), {1: Known(2, PENDING, True)}, []),
        (seen((1, 2)), {1: Known(1, OVER, True)}, []),
        (seen((1, 2)), {}, []),
        (seen((1, 2), (1, 4), (1, 3)), {1: Known(1, RUNNING, True)}, [(1, 4)]),
        (seen((1, 1), (2, 3)), {1: Known(0, CREATED, True), 2: Known(1, STARTING, True)}, [(1, 1), (2, 3)]),
    ],
)
def test_runs_ahead_of_their_tasks(
    observed: Sequence[types.Observation], known: dict[int, Known], expected: list[tuple[int, int]]
) -> None:
    found = adoption.ahead(observed, known)
    assert [(handle.task_id, handle.attempt) for handle in found] == expected


def test_the_ids_of_children_are_those_of_their_positions() -> None:
    """The census creates the same children as the scheduler."""
    parent = samples.task(10, array=Array(start=0, end=3, step=1, count=4, first_id=11))
    assert [child["_id"] for child in arrays.documents(parent, range(4), now=1.0)] == [11, 12, 13, 14]
