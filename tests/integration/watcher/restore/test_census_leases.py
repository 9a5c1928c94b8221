"""After a restore, ports and devices belong to the runs that use them, and earlier attempts are accounted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import pytest
import structlog

from shared import clock
from shared.executors import fake, types
from shared.lifecycle import Ending, TaskStatus
from shared.models import attempt_files
from shared.models.task import Place, Placement
from shared.models.transitions import Transition
from shared.storage.directories import TaskDirectories
from tests.integration.conftest import Scene
from tests.support import samples, waiting

pytestmark = pytest.mark.stores

PENDING, STARTING, RUNNING, OVER = TaskStatus.PENDING, TaskStatus.STARTING, TaskStatus.RUNNING, TaskStatus.OVER
GPU, PORT = "gpu0", 10007
LEASES = [f"{samples.NODE}/gpu/{GPU}", f"{samples.NODE}/port/{PORT}"]
NEEDS = {"gpus": 1, "ports": [80]}


@pytest.fixture(autouse=True)
def _one_gpu(scene: Scene) -> None:
    scene.executor.reports[samples.NODE] = replace(fake.NODE, gpus=(GPU,))


async def start(scene: Scene, task_id: int, attempt: int = 1, *, gpus: Sequence[str] = (GPU,)) -> types.Handle:
    """Start a run that was placed after the backup, with the node's only GPU and a port."""
    handle = types.Handle(samples.NODE, task_id, attempt)
    ports = (types.PortMapping(80, PORT),)
    run = types.Run(handle, "busybox:latest", 1, 1, (), 1.0, 1024**3, "/nowhere", False, gpus=gpus, ports=ports)
    await scene.executor.start(run)
    return handle


def holding() -> Placement:
    """Return the placement that the backup has of a task."""
    return samples.placement().model_copy(update={"gpus": [GPU], "ports": [PORT], "leases": LEASES})


async def restored(scene: Scene) -> None:
    await scene.stores.restorations.begin(at=clock.now(), of=samples.NOW)


async def left(scene: Scene, task_id: int, attempt: int, exit_code: int, *, at: float) -> None:
    """Leave the files of an attempt that ended ten seconds after it began."""
    directories = TaskDirectories(scene.settings.shared_dir)
    user = (await scene.task(task_id)).user
    path = await directories.prepare(Place(task_id), uid=user.uid, gid=user.gid, script="exit 0")
    for name, text, moment in (
        (attempt_files.started_file(attempt), "1\n", at),
        (attempt_files.exit_file(attempt), f"{exit_code}\n", at + 10),
    ):
        (path / name).write_text(text)
        os.utime(path / name, (moment, moment))


async def test_an_adopted_run_keeps_its_device_and_port_from_others(scene: Scene) -> None:
    await scene.add(1, **NEEDS)
    handle = await start(scene, 1)
    await restored(scene)
    async with scene.running():
        placement = (await scene.until(RUNNING)).placement
        assert placement is not None
        assert (placement.gpus, placement.ports, placement.leases) == ([GPU], [PORT], LEASES)
        await scene.add(2, gpus=1, cmd="sleep 600")
        await scene.broker.enqueue([2])
        for lease in LEASES:
            assert not await take(scene, 2, lease), "not even a scheduler that believes it free can give it away"
        await waiting.until(lambda: refused(scene, 2), "the other task was looked at, and found no room")
        assert (await scene.task(2)).status is PENDING
        scene.executor.exit(handle, 0)
        await scene.until(RUNNING, 2)


async def take(scene: Scene, task_id: int, lease: str) -> bool:
    where = {**samples.placement().model_dump(), "leases": [lease]}
    move = Transition(task_id, 0, PENDING, STARTING, at=1.0, next_attempt=1, fields={"placement": where})
    return bool(await scene.stores.tasks.transition_many([move]))


async def refused(scene: Scene, task_id: int) -> bool:
    shape = (await scene.task(task_id)).shape
    return shape in await scene.stores.pending_reasons.get_many([shape])


async def test_leases_of_the_backup_go_to_the_runs_that_hold_them_now(scene: Scene) -> None:
    await scene.add(1, RUNNING, attempt=1, placement=holding(), started_at=samples.NOW, **NEEDS)
    await left(scene, 1, 1, 6, at=samples.NOW)
    await scene.add(2, **NEEDS)
    handle = await start(scene, 2)
    await restored(scene)
    async with scene.running():
        placement = (await scene.until(RUNNING, 2)).placement
        assert placement is not None
        assert placement.leases == LEASES
        assert (await scene.until(OVER, 1)).exit_code == 6
    assert scene.executor.starts == [handle]


async def test_an_ended_run_gives_up_the_leases_of_its_record(scene: Scene) -> None:
    await scene.add(1, RUNNING, attempt=1, placement=holding(), started_at=samples.NOW, **NEEDS)
    scene.executor.exit(await start(scene, 1), 6)
    await scene.add(2, **NEEDS)
    await start(scene, 2)
    await restored(scene)
    async with scene.running():
        task = await scene.until(RUNNING, 2)
        assert task.placement is not None
        assert (task.placement.leases, task.reason) == (LEASES, None)
        assert (await scene.until(OVER, 1)).exit_code == 6


async def test_a_start_that_was_undone_is_not_tried_again_with_the_device_of_another(scene: Scene) -> None:
    await scene.add(1, STARTING, attempt=1, placement=holding(), cmd="sleep 600", **NEEDS)
    await scene.add(2, **NEEDS)
    handle = await start(scene, 2)
    await restored(scene)
    async with scene.running():
        await scene.until(RUNNING, 2)
        assert ((await scene.task(1)).status, scene.executor.starts) == (PENDING, [handle])
        scene.executor.exit(handle, 0)
        assert (await scene.until(RUNNING, 1)).attempt == 2


async def test_a_start_that_succeeded_and_ended_is_not_repeated_with_the_port_of_another(scene: Scene) -> None:
    await scene.add(1, STARTING, attempt=1, placement=holding(), **NEEDS)
    await left(scene, 1, 1, 6, at=samples.NOW)
    await scene.add(2, **NEEDS)
    handle = await start(scene, 2)
    await restored(scene)
    async with scene.running():
        task = await scene.until(OVER, 1)
        assert (task.attempt, task.ending, task.exit_code) == (1, Ending.EXITED, 6)
        await scene.until(RUNNING, 2)
    assert scene.executor.starts == [handle]


async def test_two_runs_with_the_same_device_are_both_adopted_and_it_is_logged(scene: Scene) -> None:
    await scene.add(1, RUNNING, attempt=1, placement=holding(), started_at=samples.NOW, **NEEDS)
    await start(scene, 1)
    await scene.add(2, **NEEDS)
    await start(scene, 2)
    await restored(scene)
    with structlog.testing.capture_logs() as events:
        async with scene.running():
            task = await scene.until(RUNNING, 2)
    said = f"it runs with {LEASES[0]}, which task 1 holds; {LEASES[1]}, which task 1 holds"
    assert task.reason == said
    assert [event["reason"] for event in events if event["event"] == "census.leases_shared"] == [said]
    assert task.placement is not None
    assert (task.placement.gpus, task.placement.leases) == ([GPU], [])


async def test_a_run_that_has_ended_keeps_nothing_from_the_one_that_followed(scene: Scene) -> None:
    for task_id in (1, 2):
        await scene.add(task_id, **NEEDS)
    scene.executor.exit(await start(scene, 1), 4)
    await start(scene, 2)
    await restored(scene)
    async with scene.running():
        placement = (await scene.until(RUNNING, 2)).placement
        assert placement is not None
        assert placement.leases == LEASES
        assert (await scene.until(OVER, 1)).exit_code == 4


async def test_usage_of_attempts_after_the_backup_is_accounted_once(scene: Scene) -> None:
    """The first attempt ran at the time of the backup and was rescheduled twice; the backup has the row of neither."""
    await scene.add(1, RUNNING, attempt=1, placement=samples.placement(), started_at=samples.NOW)
    for attempt in (1, 2):
        await left(scene, 1, attempt, 143, at=samples.NOW + 100 * attempt)
    handle = await start(scene, 1, 4, gpus=())
    await restored(scene)
    async with scene.running():
        await waiting.until(lambda: is_at(scene, 4), "the fourth attempt is adopted")
        scene.executor.exit(handle, 0)
        await scene.settled()
    rows = {row.attempt: row.seconds for row in await scene.stores.usage.of_task(1)}
    assert rows.keys() == {1, 2, 4}, "the third never began"
    assert (rows[1], rows[2]) == (10, 10)


async def is_at(scene: Scene, attempt: int) -> bool:
    task = await scene.task()
    return (task.status, task.attempt) == (RUNNING, attempt)
