"""
The leading scheduler is killed while tasks come, with a standby beside it and the leases as they are by default: the next one
places tasks within the bound. GODOCKER_LONG_TESTS kills ten of them.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from godocker.local.data_directory import DataDirectory
from shared.models.system.lease import SCHEDULER
from shared.settings import Settings
from tests.acceptance.conftest import Ground
from tests.acceptance.lifecycle.test_interruption import check_at_the_end, free_port, submit_with_retries
from tests.conftest import FIGURES
from tests.support import waiting
from tests.support.harness.system import System

pytestmark = pytest.mark.long  # see `make test-long`

ROOT = Path(__file__).parents[3]
ROUNDS = 10 if os.environ.get("GODOCKER_LONG_TESTS") else 3
A_SECOND = 10  #: tasks
RECOVERY = 5.0  #: seconds from the leader's death in which the next one has to place something
PATIENCE = 90.0
DEFAULTS = {
    f"GODOCKER_{name.upper()}": str(Settings.model_fields[name].default)
    for name in ("lease_seconds", "leader_lease_seconds", "poll_seconds", "reconcile_seconds")
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("ground", ["process"], indirect=True)
def test_a_standby_places_tasks_soon_after_the_leader_was_killed(
    ground: Ground, record_property: Callable[[str, object], None]
) -> None:
    with ground.system(**DEFAULTS) as system, Schedulers(system).running() as schedulers:
        with load(system, ground) as sent:
            times = [schedulers.kill_the_leader() for _ in range(ROUNDS)]
        figures = check_at_the_end(system, ground, sent.acknowledged, sent.exit_codes)
        assert figures.tasks == len(sent.acknowledged), "and no task was made twice"
    record_property(
        FIGURES,
        f"{figures}; {ROUNDS} leaders killed; first placement after min {min(times):.2f} s, "
        f"median {statistics.median(times):.2f} s, max {max(times):.2f} s",
    )
    assert max(times) <= RECOVERY


class Schedulers:
    """The scheduler of `up`, and a second one of the test."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._port = free_port()
        self._own: subprocess.Popen[bytes] | None = None
        settings = system.settings()
        self._client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(settings.mongo_url)
        self._database = self._client[settings.mongo_db]
        self._ports = {"up": settings.scheduler_port, "own": self._port}

    @contextmanager
    def running(self) -> Iterator[Schedulers]:
        self._start_own()
        try:
            yield self
        finally:
            assert self._own is not None
            self._own.terminate()
            self._own.wait(20)
            self._client.close()

    def kill_the_leader(self) -> float:
        """Kill the leader with SIGKILL, and return the seconds until the standby's first placement."""
        self._until_both_answer()
        epoch, pid = self._leader()
        waiting.until_blocking(lambda: self._placed(epoch), "the leader places tasks", timeout=PATIENCE)
        killed_at = time.time()
        os.kill(pid, signal.SIGKILL)
        first = waiting.until_blocking(lambda: self._placed(epoch + 1), "its successor does", timeout=PATIENCE)
        assert self._leader()[0] == epoch + 1
        assert self._own is not None
        if pid == self._own.pid:
            self._own.wait(20)
            self._start_own()
        else:
            waiting.until_blocking(
                lambda: self._system.pid("scheduler") != pid, "`up` starts another", timeout=PATIENCE
            )
        return first - killed_at

    def _leader(self) -> tuple[int, int]:
        """Return epoch and pid of the lease's holder."""
        lease = self._database["leases"].find_one({"_id": SCHEDULER})
        assert lease is not None
        return int(lease["epoch"]), int(lease["holder"].split(":")[1])

    def _placed(self, epoch: int) -> float | None:
        """Return the time of the first placement in this epoch, on this machine's clock."""
        task = self._database["tasks"].find_one({"placement.epoch": epoch}, sort=[("placement.at", 1)])
        return float(task["placement"]["at"]) if task else None

    def _until_both_answer(self) -> None:
        for name, port in self._ports.items():
            waiting.until_blocking(lambda port=port: answers(port), f"scheduler {name} answers", timeout=PATIENCE)

    def _start_own(self) -> None:
        environment = {
            **os.environ,
            **DataDirectory(self._system.data_dir).environment(),
            "GODOCKER_SCHEDULER_PORT": str(self._port),
        }
        argv = [sys.executable, "-P", "-m", "services.scheduler"]
        with (self._system.data_dir / "second.log").open("ab") as log:
            self._own = subprocess.Popen(
                argv, env=environment, stdout=log, stderr=log, cwd=ROOT, start_new_session=True
            )


@dataclass(frozen=True, slots=True)
class Sent:
    acknowledged: list[int]
    exit_codes: dict[str, int]


@contextmanager
def load(system: System, ground: Ground) -> Iterator[Sent]:
    """Submit tasks one after the other during the block."""
    sent = Sent([], {})
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with system.client(system.token()) as client:
                while not stop.wait(1 / A_SECOND):
                    number = len(sent.acknowledged)
                    sent.exit_codes[f"task{number}"] = number % 7
                    task = ground.task(f"task{number}", ground.witness.script(exit_code=number % 7))
                    sent.acknowledged.append(submit_with_retries(client, task))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="load")
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join(timeout=60)
    assert not failures, repr(failures[0])


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
