"""
A system of the version before runs had marks is upgraded while its tasks run: they are adopted, by it and by nobody else. The
code of that version is taken from the history of this repository.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import cast

import pytest

from tests.acceptance import conftest
from tests.acceptance.conftest import EXECUTORS, Ground
from tests.acceptance.lifecycle.test_interruption import (
    check_at_the_end,
    primary,
    status,
    submit,
    wait_until_over,
)
from tests.conftest import FIGURES
from tests.support import waiting
from tests.support.harness.system import System

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[3]
BEFORE = "cc22001"  #: the last commit of that version
PATIENCE = 60.0
TASKS = 5
EXIT_CODES = {"short": 3, "down": 4, "long": 5, "new": 6}


@pytest.fixture(params=EXECUTORS)
def grounds(request: pytest.FixtureRequest) -> Iterator[tuple[Ground, Ground]]:
    with conftest.folder() as first, conftest.folder() as second:
        yield conftest._ground(request, first), conftest._ground(request, second)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Check out the previous version."""
    code = subprocess.run(
        ["git", "archive", BEFORE, "shared", "services", "godocker"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(code)) as archive:
        archive.extractall(tmp_path / "old", filter="data")
    return tmp_path / "old"


def test_running_tasks_of_the_version_before_are_adopted_by_their_own_system_alone(
    grounds: tuple[Ground, Ground], old: Path, record_property: Callable[[str, object], None]
) -> None:
    ground, others = grounds
    witness = ground.witness
    with ground.system(PYTHONPATH=str(old)) as system:
        with system.client(system.token()) as client:
            short = submit(client, ground.task("short", witness.script(exit_code=3)))
            waiting.until_blocking(lambda: primary(client, short) == "over", "one has ended", timeout=PATIENCE)
            down, long = (
                [
                    submit(client, ground.task(name, witness.script(exit_code=EXIT_CODES[name], gate=name)))
                    for _ in range(TASKS)
                ]
                for name in ("down", "long")
            )
            waiting.until_blocking(lambda: witness.count("start") == 1 + 2 * TASKS, "the others run", timeout=PATIENCE)
        before = ground.alive(system, long)
        assert len(before) == TASKS
        assert system.stop() == 0
        with others.system() as beside:  # of this version, new, on the same engine
            waiting.until_blocking(
                lambda: run_one(beside, others) == "over", "the other system runs tasks", timeout=PATIENCE
            )
            witness.open("down")
            waiting.until_blocking(
                lambda: witness.count("stop") == 1 + TASKS, "some end while it is down", timeout=PATIENCE
            )
            cast("dict[str, str]", system._environment).pop("PYTHONPATH")
            system.start()
            check_adopted(system, ground, down, long, before)
            with system.client(system.token()) as client:
                new = submit(client, ground.task("new", witness.script(exit_code=6)))
            witness.open("long")
            wait_until_over(beside, [], timeout=PATIENCE)
            assert "run.stray_removed" not in beside.log("watcher") + system.log("watcher")
        figures = check_at_the_end(system, ground, [short, *down, *long, new], EXIT_CODES)
        assert (figures.runs_twice, figures.starts, figures.attempts) == (0, 2 + 2 * TASKS, 2 + 2 * TASKS)
        record_property(FIGURES, f"{figures}; {len(long)} adopted, {len(down)} ended while it was down")


def run_one(system: System, ground: Ground) -> object:
    with system.client(system.token()) as client:
        task_id = submit(client, ground.task("other", "exit 0"))
        waiting.until_blocking(lambda: primary(client, task_id) == "over", "it is over", timeout=PATIENCE)
        return primary(client, task_id)


def check_adopted(system: System, ground: Ground, down: list[int], long: list[int], before: dict[int, str]) -> None:
    with system.client(system.token()) as client:
        for task_id in down:
            waiting.until_blocking(
                lambda i=task_id: primary(client, i) == "over", "what ended meanwhile is found", timeout=PATIENCE
            )
            assert status(client, task_id)["exitcode"] == EXIT_CODES["down"]
        assert {primary(client, task_id) for task_id in long} == {"running"}
    assert ground.alive(system, long) == before, "they are the runs that they were"
