"""A disk that is full, out of inodes or read only delays tasks and does nothing else to them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.scheduler.start.task_directories import Prepared, Preparer
from shared import errors
from shared.executors import types
from shared.lifecycle import TaskStatus
from shared.models.task import Task
from shared.observe import metrics
from tests.integration.conftest import Scene
from tests.support import samples, waiting
from tests.support.harness import rigs

pytestmark = [
    pytest.mark.stores,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a file system needs root"),
]

TASKS = (1, 2, 3)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    filling = folder / "filling"
    with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
        while file.write(b"\0" * 4096):
            pass
    yield
    filling.unlink()


@contextlib.contextmanager
def without_inodes(folder: Path) -> Iterator[None]:
    made = []
    with contextlib.suppress(OSError):
        for number in range(1000):
            (folder / f"inode-{number}").touch()
            made.append(folder / f"inode-{number}")
    yield
    for path in made:
        path.unlink()


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True, timeout=10)
    yield
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True, timeout=10)


@pytest.fixture
def small(scene: Scene) -> Iterator[Path]:
    """Mount a small file system for the directories of tasks."""
    with rigs.directory() as folder:
        options = "size=4m,nr_inodes=64,mode=0711"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, timeout=10)
        scene.settings = scene.settings.model_copy(update={"shared_dir": folder})
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)


@pytest.mark.parametrize(
    ("broken", "trouble"),
    [(full, "disk full"), (without_inodes, "disk full"), (read_only, "file system read only")],
    ids=["full", "no inodes", "read only"],
)
async def test_while_the_shared_directory_is_broken_nothing_starts_and_nothing_ends(
    scene: Scene,
    small: Path,
    broken: Callable[[Path], contextlib.AbstractContextManager[None]],
    trouble: str,
) -> None:
    with broken(small):
        for task_id in TASKS:
            await scene.add(task_id, cmd="sleep 600", cpu=1.0)
        async with scene.running():
            await scene.broker.enqueue(TASKS)

            async def is_shown() -> bool:
                nodes = await scene.stores.nodes.list()
                return [(node.ready, node.reason) for node in nodes] == [(False, f"{trouble}: the shared directory")]

            await waiting.until(is_shown, "the node is not ready, with the reason")
            await waiting.until(
                lambda: metrics.SYSTEM.get_sample_value("godocker_node_unwell", {"node": "all"}) == 1,
                "metrics show it",
            )
            tasks = [await scene.task(task_id) for task_id in TASKS]
    assert {task.status for task in tasks} <= {TaskStatus.PENDING, TaskStatus.STARTING}
    assert not scene.executor.starts
    async with scene.running():
        await scene.until(TaskStatus.RUNNING, *TASKS)


async def test_a_start_that_met_a_full_disk_is_undone_and_succeeds_once_there_is_room(
    scene: Scene, small: Path
) -> None:
    async with scene.running():
        await scene.add(1, cmd="sleep 600", cpu=1.0)
        await scene.broker.enqueue([1])
        await scene.until(TaskStatus.RUNNING, 1)
        with full(small):
            await scene.add(2, cmd="sleep 600", cpu=1.0)
            await scene.broker.enqueue([2])

            async def was_undone_or_waits() -> bool:
                nodes = await scene.stores.nodes.list()
                task = await scene.task(2)
                return task.status is TaskStatus.PENDING and any(not node.ready for node in nodes)

            await waiting.until(was_undone_or_waits, "the second task waits for room on the disk")
        await scene.until(TaskStatus.RUNNING, 2)
        assert (await scene.task(1)).status is TaskStatus.RUNNING


async def test_one_broken_directory_delays_no_other_task(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = Preparer._prepare

    def broken(self: Preparer, task: Task) -> Prepared | Exception:
        if task.id == 1:
            return errors.StorageUnavailable("the shared directory cannot be used: input/output errors")
        return prepare(self, task)

    monkeypatch.setattr(Preparer, "_prepare", broken)
    async with scene.running():
        for task_id in (1, 2):
            await scene.add(task_id, cmd="sleep 600", cpu=1.0)
        await scene.broker.enqueue([1, 2])
        await scene.until(TaskStatus.RUNNING, 2)
        task = await scene.until(TaskStatus.PENDING, 1)
        found = await waiting.until(lambda: _delayed(scene), "the first is put back, and tried later")
    assert "input/output errors" in (found.reason or "")
    assert task.ending is None


async def _delayed(scene: Scene) -> Task | None:
    task = await scene.task(1)
    return task if task.status is TaskStatus.PENDING and task.not_before is not None else None


@pytest.mark.parametrize(
    "error",
    [errors.NodeFull("full", trouble="disk full"), errors.NodeUnwell("EMFILE", trouble="too many open files")],
    ids=lambda error: type(error).__name__,
)
async def test_a_node_on_which_starts_fail_is_not_ready_and_its_tasks_go_elsewhere(
    scene: Scene, error: errors.StartFailed
) -> None:
    scene.executor.reports["node2"] = samples.report("node2")
    scene.executor.faults.refuse_start = {types.run_name(task_id, 1): error for task_id in TASKS}  # the first tries
    for task_id in TASKS:
        await scene.add(task_id, cmd="sleep 600", cpu=1.0)
    async with scene.running():
        await scene.broker.enqueue(TASKS)
        await scene.until(TaskStatus.RUNNING, *TASKS)
        assert {(await scene.task(task_id)).attempt for task_id in TASKS} == {2}
