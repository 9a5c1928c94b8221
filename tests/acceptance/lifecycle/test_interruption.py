"""
What a system survives: its services and its broker's memory lost again and again, and all of it at once. GODOCKER_LONG_TESTS
doubles the tasks.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pymongo
import pytest
import redis

from godocker.local.data_directory import DataDirectory
from shared.settings import Settings
from tests.acceptance.conftest import DOCKER_IS_LONG, Ground
from tests.conftest import FIGURES
from tests.support import history, waiting
from tests.support.harness.system import System

ROOT = Path(__file__).parents[3]
LONG = bool(os.environ.get("GODOCKER_LONG_TESTS"))
TASKS, SUBMITS_A_SECOND = (300, 20) if LONG else (150, 10)
KILLS_EACH = 3
FLUSHES = 2
BETWEEN_FAULTS = 1.2  #: seconds


@pytest.mark.timeout(300)
def test_tasks_survive_kills_of_every_service_and_the_loss_of_redis(
    ground: Ground, record_property: Callable[[str, object], None]
) -> None:
    with ground.system() as system:
        began = time.monotonic()
        faults = Faults(system)
        with faults.under_way():
            acknowledged, exit_codes = submit_all(system, ground, TASKS)
        figures = check_at_the_end(system, ground, acknowledged, exit_codes)
        faults.check_all_done()
        record_property(FIGURES, f"{figures}; {faults}; {time.monotonic() - began:.0f} s")
        assert len(acknowledged) == TASKS
        assert "internal_error" not in system.log("api")
        assert "request.failed" not in system.log("api")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("ground", DOCKER_IS_LONG, indirect=True)
def test_a_killed_system_goes_on_where_it_was_when_it_is_started_again(ground: Ground) -> None:
    with ground.system() as system:
        token = system.token()
        with system.client(token) as client:
            long = submit(client, ground.task("long", ground.witness.script(gate="long")))
            short = submit(client, ground.task("short", ground.witness.script(seconds=4, exit_code=3)))
            waiting.until_blocking(lambda: ground.witness.count("start") == 2, "both tasks have started")
        system.kill_hard()
        waiting.until_blocking(lambda: ground.witness.count("stop") == 1, "the short one ended while nobody watched")
        system.start()
        with system.client(system.token()) as client:
            waiting.until_blocking(lambda: primary(client, short) == "over", "the one that ended is collected")
            assert status(client, short)["exitcode"] == 3
            assert primary(client, long) == "running", "the one that runs is adopted"
            ground.witness.open("long")
            waiting.until_blocking(lambda: primary(client, long) == "over", "it ends", timeout=40)
        settings = system.settings()
        wait_until_settled(settings)
        history.check(settings, ground.witness, acknowledged=[long, short], exit_codes={"long": 0, "short": 3})
        assert ground.runs(system) == []


@pytest.mark.timeout(200)
@pytest.mark.parametrize("ground", DOCKER_IS_LONG, indirect=True)
def test_a_database_that_is_killed_loses_nothing_that_was_acknowledged(ground: Ground) -> None:
    with ground.system() as system:
        storm = Storm(system, ground, tasks=120)
        for _ in range(2):
            threading.Event().wait(1.5)
            kill_and_await(system, "mongod")
        acknowledged, exit_codes = storm.finish()
        check_at_the_end(system, ground, acknowledged, exit_codes)
        assert "request.failed" not in system.log("api")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("ground", DOCKER_IS_LONG, indirect=True)
def test_a_broker_that_hangs_and_then_is_killed_delays_nobody_for_long(ground: Ground) -> None:
    with ground.system() as system:
        with system.client(system.token()) as client:
            with system.hanging("redis"):
                began = time.monotonic()
                ids = [submit(client, ground.task("hang", ground.witness.script())) for _ in range(10)]
                waiting.until_blocking(
                    lambda: all(primary(client, task_id) == "over" for task_id in ids),
                    "tasks run while the broker hangs",
                    timeout=60,
                )
                assert time.monotonic() - began < 60
            kill_and_await(system, "redis")
            ids.append(submit(client, ground.task("hang", ground.witness.script())))
        check_at_the_end(system, ground, ids, {"hang": 0})


@pytest.mark.timeout(200)
@pytest.mark.parametrize("ground", DOCKER_IS_LONG, indirect=True)
def test_a_leader_that_slept_through_its_lease_starts_nothing_twice(ground: Ground) -> None:
    with ground.system() as system, second_scheduler(system):
        storm = Storm(system, ground, tasks=120)
        for _ in range(3):
            threading.Event().wait(1.0)
            # Whoever of the two leads: one of them sleeps longer than a lease, the other takes over, the first wakes up.
            with system.hanging("scheduler"):
                threading.Event().wait(3.5)
        acknowledged, exit_codes = storm.finish()
        check_at_the_end(system, ground, acknowledged, exit_codes)


class Storm:
    """Submits tasks in a thread, as a client that retries."""

    def __init__(self, system: System, ground: Ground, *, tasks: int) -> None:
        self._result: tuple[list[int], dict[str, int]] | None = None
        self._thread = threading.Thread(target=self._run, args=(system, ground, tasks), name="storm")
        self._thread.start()

    def _run(self, system: System, ground: Ground, tasks: int) -> None:
        self._result = submit_all(system, ground, tasks)

    def finish(self) -> tuple[list[int], dict[str, int]]:
        self._thread.join(timeout=120)
        assert self._result is not None, "not all tasks were accepted"
        return self._result


@contextmanager
def second_scheduler(system: System) -> Iterator[None]:
    """Start a standby scheduler of the same system."""
    environment = {
        **os.environ,
        **DataDirectory(system.data_dir).environment(),
        "GODOCKER_SCHEDULER_PORT": str(free_port()),
    }
    argv = [sys.executable, "-P", "-m", "services.scheduler"]
    with (system.data_dir / "second.log").open("wb") as log:
        process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, cwd=ROOT, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def kill_and_await(system: System, name: str) -> None:
    before = system.kill(name)
    waiting.until_blocking(lambda: system.pid(name) != before, f"{name} is started again", timeout=20)


def check_at_the_end(
    system: System, ground: Ground, acknowledged: list[int], exit_codes: dict[str, int]
) -> history.Figures:
    """Wait until all tasks are over, and check the invariants."""
    wait_until_over(system, acknowledged, timeout=120)
    settings = system.settings()
    wait_until_settled(settings)
    figures = history.check(settings, ground.witness, acknowledged=acknowledged, exit_codes=exit_codes)
    waiting.until_blocking(lambda: ground.runs(system) == [], "nothing of any run is left")
    return figures


class Faults:
    """Kills services in turn and empties Redis, each several times."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._settings = system.settings()
        self._done: dict[str, int] = dict.fromkeys(["api", "scheduler", "watcher", "flush"], 0)
        self._stop = threading.Event()
        self._error: BaseException | None = None

    @contextmanager
    def under_way(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run, name="faults")
        thread.start()
        try:
            yield
        finally:
            thread.join(timeout=90)
            self._stop.set()
            assert not thread.is_alive(), f"the faults did not come to an end: {self._done}"

    def check_all_done(self) -> None:
        assert self._error is None, repr(self._error)
        assert self._done == {"api": KILLS_EACH, "scheduler": KILLS_EACH, "watcher": KILLS_EACH, "flush": FLUSHES}

    def __str__(self) -> str:
        return ", ".join(f"{what} {count}x" for what, count in self._done.items())

    def _run(self) -> None:
        try:
            for turn, service in itertools.product(range(KILLS_EACH), ["scheduler", "watcher", "api"]):
                if self._stop.wait(BETWEEN_FAULTS):
                    return
                self._kill(service)
                if service == "watcher" and turn < FLUSHES:
                    self._flush()
        except BaseException as error:
            self._error = error

    def _kill(self, service: str) -> None:
        kill_and_await(self._system, service)
        self._done[service] += 1

    def _flush(self) -> None:
        password = self._settings.redis_password
        client = redis.Redis(
            host=self._settings.redis_host,
            port=self._settings.redis_port,
            unix_socket_path=str(self._settings.redis_socket),
            password=password.get_secret_value() if password else None,
        )
        client.flushall()
        client.close()
        self._done["flush"] += 1


def submit_all(system: System, ground: Ground, tasks: int) -> tuple[list[int], dict[str, int]]:
    """Submit the tasks at a steady rate, as a client that retries when the gateway fails."""
    acknowledged, exit_codes = [], {}
    with system.client(system.token()) as client:
        began = time.monotonic()
        for number in range(tasks):
            name = f"task{number}"
            exit_codes[name] = number % 7
            script = ground.witness.script(seconds=0.1 * (number % 5), exit_code=exit_codes[name])
            acknowledged.append(submit_with_retries(client, ground.task(name, script)))
            ahead = number / SUBMITS_A_SECOND - (time.monotonic() - began)
            threading.Event().wait(max(0.0, ahead))
    return acknowledged, exit_codes


def submit_with_retries(client: httpx.Client, task: dict[str, object]) -> int:
    """After a lost answer the task may exist, so a retry can create a second one, which is checked too."""
    for _ in range(50):
        try:
            answer = client.post("/api/1.0/task", json=task)
        except httpx.TransportError:
            continue
        if answer.status_code == 200:
            return int(answer.json()["id"])
        assert answer.status_code == 503, answer.text
        threading.Event().wait(0.2)
    raise AssertionError("the gateway did not come back")


def submit(client: httpx.Client, task: dict[str, object]) -> int:
    answer = client.post("/api/1.0/task", json=task)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["id"])


def status(client: httpx.Client, task_id: int) -> dict[str, object]:
    answer = client.get(f"/api/1.0/task/{task_id}/status")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["status"])


def primary(client: httpx.Client, task_id: int) -> object:
    return status(client, task_id)["primary"]


def wait_until_over(system: System, task_ids: list[int], *, timeout: float) -> None:
    with system.client(system.token()) as client:

        def nothing_active() -> bool:
            answer = client.get("/api/1.0/task/active")
            return answer.status_code == 200 and not answer.json()

        waiting.until_blocking(nothing_active, "all tasks are over", timeout=timeout, interval=0.3)
        assert all(primary(client, task_id) == "over" for task_id in task_ids[:20])


def wait_until_settled(settings: Settings) -> None:
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(settings.mongo_url)
    try:
        tasks = client[settings.mongo_db]["tasks"]
        waiting.until_blocking(
            lambda: tasks.count_documents({"settled": False}) == 0, "every end is settled", timeout=30
        )
    finally:
        client.close()
