"""Tests of backup and restore under load: acknowledged tasks exist, and nothing runs twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pymongo
import pytest

from tests.acceptance.conftest import Ground
from tests.acceptance.lifecycle.test_interruption import (
    primary,
    submit,
    submit_with_retries,
    wait_until_over,
    wait_until_settled,
)
from tests.conftest import FIGURES
from tests.support import history, naming, waiting
from tests.support.harness.system import System

pytestmark = pytest.mark.long  # see `make test-long`

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"
BEFORE, AFTER = 25, 25  #: tasks of the load that are acknowledged before the backup begins, and after it has ended
PATIENCE = 180.0  #: seconds for each thing that is waited for: how fast it is, is not what is told here
PACE = 0.04  #: seconds between two tasks of the load
BACKLOG = 30  #: tasks that wait, at most: a busy machine starts no more of them while a backup is made
EXIT_CODES = {"first": 4, "second": 5, "late": 6}


@pytest.mark.timeout(900)
def test_a_system_that_was_destroyed_goes_on_where_the_backup_was_made(
    ground: Ground, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with ground.system() as system:
        with system.client(system.token()) as client:
            first = [submit(client, gated(ground, "first", ram=10)) for _ in range(6)]
            waiting.until_blocking(
                lambda: started(ground, first), "these run when the backup is made", timeout=PATIENCE
            )
            second = [submit(client, gated(ground, "second", ram=10)) for _ in range(2)]
            with Load(system, ground) as load:
                load.wait_for(BEFORE)
                before = [*first, *second, *load.acknowledged]
                made = system.run("backup", str(tmp_path), timeout=PATIENCE)
                assert made.returncode == 0, made.stderr
                ground.witness.open("first")
                load.wait_for(len(load.acknowledged) + AFTER)
            waiting.until_blocking(
                lambda: started(ground, second), "these are placed after the backup", timeout=PATIENCE
            )
            late = submit(client, gated(ground, "late", ram=0.1))
            waiting.until_blocking(
                lambda: started(ground, [late]), "this one is sent after the backup", timeout=PATIENCE
            )
        running = ground.alive(system, second)
        assert len(running) == len(second)
        destroy(system)
        assert ground.alive(system, [*second, late]).keys() == {*second, late}, "tasks go on without GoDocker"

        restored = system.run("restore", made.stdout.strip(), timeout=PATIENCE)
        assert restored.returncode == 0, restored.stderr
        system.start()
        ended = check_adopted(system, ground, running, late)
        settings = system.settings()
        lost = {task_id for task_id, _, _ in ground.witness.lines()} - recorded(system)
        figures = history.check(
            settings, ground.witness, acknowledged=before, exit_codes={**EXIT_CODES, **load.exit_codes}, lost=lost
        )
        assert late in lost
        assert not lost & set(before)
        found = without_task(system)
        assert lost <= found, "the document says how directories are found that nobody owns"
        assert not found & recorded(system)
        waiting.until_blocking(lambda: ground.runs(system) == [], "nothing of any run is left")
        check_numbers(system, ground, [*before, *load.acknowledged, late])
        record_property(FIGURES, f"{figures}; {len(lost)} sent after the backup; {ended} adopted")


def check_adopted(system: System, ground: Ground, running: dict[int, str], late: int) -> int:
    """Check that runs placed after the backup are adopted, and that the unknown run is removed."""
    with system.client(system.token()) as client:
        for task_id in running:
            waiting.until_blocking(
                lambda i=task_id: primary(client, i) == "running", f"task {task_id} is adopted", timeout=PATIENCE
            )
        assert client.get(f"/api/1.0/task/{late}").status_code == 404
        waiting.until_blocking(
            lambda: not ground.alive(system, [late]), "what was sent later is removed", timeout=PATIENCE
        )
        assert removed(system) >= {f"god-{late}-1"}, "the log says so"
        assert ground.alive(system, list(running)) == running, "they are the runs that they were"
        ground.witness.open("second")
        wait_until_over(system, list(running), timeout=PATIENCE)
        wait_until_settled(system.settings())
    return len(running)


def without_task(system: System) -> set[int]:
    """Return the task directories without a task, by the command of docs/operations.md."""
    [line] = [line for line in OPERATIONS.read_text().splitlines() if "grep ^404" in line]
    command = line.strip().removeprefix("$ ").replace("/opt/godshared", str(system.settings().shared_dir))
    environment = {**os.environ, "API": f"{system.base_url}/api/1.0", "TOKEN": system.token()}
    done = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return {int(Path(found.split()[1]).name) for found in done.stdout.splitlines()}


def removed(system: System) -> set[str]:
    """Return the runs that the watcher reported as removed because there is no such task."""
    lines = [json.loads(line) for line in system.log("watcher").splitlines() if "run.stray_removed" in line]
    return {naming.short(line["run"]) for line in lines if line["why"] == "there is no such task"}


def check_numbers(system: System, ground: Ground, known: list[int]) -> None:
    """Check that a new task gets an unused number."""
    with system.client(system.token()) as client:
        new = submit(client, ground.task("first", "exit 0"))
        assert new > max(known)
        waiting.until_blocking(lambda: primary(client, new) == "over", "a new task runs", timeout=PATIENCE)


def gated(ground: Ground, name: str, *, ram: float) -> dict[str, object]:
    """A task that runs until its gate opens. With 10 GB, the node fits six."""
    return ground.task(name, ground.witness.script(exit_code=EXIT_CODES[name], gate=name), ram=ram)


def started(ground: Ground, ids: list[int]) -> bool:
    return set(ids) <= {task_id for task_id, _, what in ground.witness.lines() if what == "start"}


def recorded(system: System) -> set[int]:
    settings = system.settings()
    client: pymongo.MongoClient[dict[str, int]] = pymongo.MongoClient(settings.mongo_url)
    try:
        return {task["_id"] for task in client[settings.mongo_db]["tasks"].find({}, {"_id": 1})}
    finally:
        client.close()


def destroy(system: System) -> None:
    """Kill everything except the tasks with SIGKILL, and delete the stores."""
    pids = system.pids()
    system.kill_hard()
    for pid in pids.values():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    waiting.until_blocking(lambda: not any(psutil.pid_exists(pid) for pid in pids.values()), "all services are gone")
    for store in ("mongo", "redis"):
        shutil.rmtree(system.data_dir / store)


class Load:
    """Submit short tasks in a thread during the block."""

    def __init__(self, system: System, ground: Ground) -> None:
        self.acknowledged: list[int] = []
        self.exit_codes: dict[str, int] = {}
        self._system = system
        self._ground = ground
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")

    def wait_for(self, count: int) -> None:
        waiting.until_blocking(
            lambda: len(self.acknowledged) >= count or not self._thread.is_alive(),
            f"{count} are accepted",
            timeout=PATIENCE,
        )
        assert self._thread.is_alive(), "the load broke"

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        with self._system.client(self._system.token()) as client:
            while not self._stop.wait(PACE):
                if len(self.acknowledged) - self._ground.witness.count("start") < BACKLOG:
                    self._send(client, len(self.acknowledged))

    def _send(self, client: httpx.Client, number: int) -> None:
        name = f"load{number}"
        self.exit_codes[name] = number % 7
        script = self._ground.witness.script(seconds=0.2 * (number % 3), exit_code=number % 7)
        self.acknowledged.append(submit_with_retries(client, self._ground.task(name, script)))
