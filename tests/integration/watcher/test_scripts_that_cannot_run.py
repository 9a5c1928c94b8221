"""Scripts that a process cannot run end at once, with the sentence that a container's end has."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shared.executors import factory, types
from shared.executors.process.record import NODE
from shared.lifecycle import TaskStatus
from tests.integration.conftest import Scene

pytestmark = pytest.mark.stores

LONG = "/usr/bin/" + "x" * 300
CASES = {
    "mark": (
        "\ufeff#!/usr/bin/python3\nimport os\n",
        "the script begins with a byte order mark, so that its `#!` is not seen",
    ),
    "blank": ("\n#!/usr/bin/python3\nimport os\n", "the script does not begin with `#!`, so that its `#!` is not seen"),
    "long": (
        f"#!{LONG}\n",
        f"the first line has {len(LONG) + 2} bytes, and kernels read the first 127 (255 since Linux 5.1)",
    ),
    "missing": (
        "#!/usr/bin/no-such\n",
        f"node {NODE} has no /usr/bin/no-such, which the first line of the script names",
    ),
}


@pytest.fixture
async def processes(scene: Scene) -> AsyncIterator[Scene]:
    """The scene, with its scheduler and watcher running, on the process executor."""
    scene.settings = scene.settings.model_copy(update={"executor": "process"})
    fake_executor, executor = scene.executor, factory.build(scene.settings, types.Owner("scripts1"))
    scene.executor = executor  # type: ignore[assignment]
    try:
        async with scene.running():
            yield scene
    finally:
        await executor.close()
        scene.executor = fake_executor


async def ended(scene: Scene, script: str) -> tuple[int | None, str | None]:
    await scene.add(1, cmd=script)
    await scene.broker.enqueue([1])
    task = await scene.until(TaskStatus.OVER, 1)
    return task.exit_code, task.reason


@pytest.mark.parametrize("case", CASES)
async def test_the_reason_is_what_is_wrong_with_the_first_line(processes: Scene, case: str) -> None:
    script, reason = CASES[case]
    code, told = await ended(processes, script)
    assert code in (2, 126, 127)
    assert told is not None
    assert told.startswith(reason)


@pytest.fixture
def noexec(shared_dir: Path) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("not root: nothing can be mounted")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec,mode=711", "tmpfs", str(shared_dir)], check=True)
    yield
    subprocess.run(["umount", "-l", str(shared_dir)], check=True)


async def test_a_directory_where_nothing_can_be_executed_is_named(noexec: None, processes: Scene) -> None:
    code, told = await ended(processes, "#!/bin/sh\nexit 3\n")
    assert code == 126
    assert told == (
        f"shared_dir is mounted noexec on {NODE}: scripts whose first line names an interpreter cannot be executed"
    )
