"""
Alerts about services, gateway, stores and mail: each fires in a real Prometheus once its situation exists.

The rules are the deployed ones, accelerated, see `prometheus.hurried`. Those about nodes are in
`test_alert_situations_nodes.py`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pymongo
import pytest

from godocker.local import ports
from tests.support import waiting
from tests.support.harness import rigs, watched
from tests.support.harness.watched import TASK, TIMEOUT, Watched
from tests.support.servers.mailbox import Mailbox

pytestmark = [pytest.mark.long, pytest.mark.stores, pytest.mark.timeout(300)]

OWED = "GodockerOutboxStuck"  #: takes two minutes, while the other alerts are tested
MEGABYTES = 64  #: of shared_dir's file system
SIZE = {"GODOCKER_PROCESS_CPUS": "4", "GODOCKER_PROCESS_MEMORY": "4"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """A small file system for shared_dir."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    with rigs.directory() as folder:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=0711", "tmpfs", str(folder)], check=True, timeout=10
        )
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)


@pytest.fixture(scope="module")
def no_mails(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    """A mail server that defers every mail."""
    box = Mailbox(ports.reserve(tmp_path_factory.mktemp("mail") / "ports.json", ["smtp"])["smtp"])
    box.answer = "450 later"
    box.start()
    yield box
    box.stop()


@pytest.fixture(scope="module")
def module_watched(shared: Path, no_mails: Mailbox) -> Iterator[Watched]:
    mail = {f"GODOCKER_{name.upper()}": str(value) for name, value in no_mails.settings().items()}
    environment = {**SIZE, **mail, "GODOCKER_SHARED_DIR": str(shared)}
    with watched.watched_system(environment=environment) as made:
        owe_a_mail(made)
        yield made


@pytest.fixture
def well(module_watched: Watched, record_property: Callable[[str, object], None]) -> Watched:
    """The system, restored to health."""
    module_watched.until_quiet(but={OWED})
    module_watched.record = record_property
    return module_watched


def owe_a_mail(made: Watched) -> None:
    """Create the situation of the last alert: its mail takes longest to grow too old."""
    key = made.system.add_user("alice", "--uid", str(rigs.UID), "--gid", str(rigs.GID), "--email", "alice@lab.test")
    with made.system.client(made.system.token("alice", key)) as client:
        answer = client.post("/api/1.0/task", json={**TASK, "notify": {"email": True}})
    assert answer.status_code == 200, answer.text


# --- all is well --------------------------------------------------------------------------------


def test_nothing_fires_while_all_is_well(module_watched: Watched) -> None:
    calm = 'absent(max_over_time(ALERTS{alertstate="firing"}[10s])) and on () (count(up offset 10s) == 5)'

    def nothing_fired() -> bool:
        assert module_watched.submit().status_code == 200
        return bool(module_watched.prometheus.query(calm))

    waiting.until_blocking(nothing_fired, "nothing fired for ten seconds", timeout=TIMEOUT, interval=0.5)


# --- services -----------------------------------------------------------------------------------


def test_a_dead_service_without_a_restart(well: Watched) -> None:
    with well.dead("files"):
        well.until_fires("GodockerTargetDown")
    well.until_rests("GodockerTargetDown")


def test_a_scheduler_that_hangs(well: Watched) -> None:
    with well.system.hanging("scheduler"):
        well.until_fires("GodockerTargetDown", "GodockerNoLeader")
    well.until_rests("GodockerTargetDown", "GodockerNoLeader")


def test_a_service_whose_name_does_not_resolve(well: Watched) -> None:
    with well.forgotten("files"):
        well.until_fires("GodockerServiceGone")
    well.until_rests("GodockerServiceGone")


# --- stores -------------------------------------------------------------------------------------


def test_a_slow_database_and_a_slow_service(well: Watched) -> None:
    with well.stuttering("mongod", stopped=1.2, going=0.3), well.stuttering("files", stopped=0.4, going=0.2):
        well.until_fires("GodockerStoreSlow", "GodockerSubmitsSlow", "GodockerLoopLag", meanwhile=well.submit)
    well.until_rests("GodockerLoopLag")


def test_a_database_that_hangs(well: Watched) -> None:
    def submit() -> None:
        with suppress(httpx.TransportError):
            assert well.submit().status_code == 503

    with well.system.hanging("mongod"):
        well.until_fires("GodockerStoreFails", "GodockerUnavailable", "GodockerNoLeader", meanwhile=submit)
    well.until_rests("GodockerStoreFails", "GodockerNoLeader")


def test_a_redis_that_hangs(well: Watched) -> None:
    with well.system.hanging("redis"):
        well.until_fires("GodockerRedisDown", meanwhile=well.submit)
    well.until_rests("GodockerRedisDown")


# --- tasks, files, mails ------------------------------------------------------------------------


def test_own_faults_a_full_disk_and_a_task_that_waits_beside_free_cores(well: Watched, shared: Path) -> None:
    damaged = damaged_task(well)
    hold = well.submit(requirements={"cpu": 1, "ram": 4}, command={"cmd": "sleep 600"})
    until_runs(well, hold.json()["id"])
    waits = well.submit(requirements={"cpu": 1, "ram": 2})

    def fails() -> None:
        with well.client() as client:
            assert client.get(f"/api/1.0/task/{damaged}").status_code == 500

    with full(shared):
        well.until_fires("GodockerErrors", "GodockerSharedDirFull", "GodockerTasksWaitThoughRoom", meanwhile=fails)
    with well.client() as client:
        for task in (hold, waits):
            client.delete(f"/api/1.0/task/{task.json()['id']}").raise_for_status()
    well.until_rests("GodockerErrors", "GodockerSharedDirFull", "GodockerTasksWaitThoughRoom")


def test_a_disk_on_which_nothing_can_be_started(well: Watched, shared: Path) -> None:
    with full(shared):
        with (shared / "rest").open("wb", buffering=0) as rest, suppress(OSError):
            while rest.write(bytes(4096)):
                pass
        try:
            well.until_fires("GodockerInstallationFails")
        finally:
            (shared / "rest").unlink()
    well.until_rests("GodockerInstallationFails")


def test_a_mail_that_is_deferred_for_too_long(well: Watched) -> None:
    well.until_fires(OWED)


def until_runs(well: Watched, task_id: int) -> None:
    def runs() -> bool:
        return bool(client.get(f"/api/1.0/task/{task_id}").json()["status"]["primary"] == "running")

    with well.client() as client:
        waiting.until_blocking(runs, f"task {task_id} runs", timeout=TIMEOUT)


def damaged_task(well: Watched) -> int:
    """Change the document of an ended task to something no version wrote."""
    task_id = int(well.submit().json()["id"])

    def settled() -> bool:
        return bool(tasks.find_one({"_id": task_id, "status": "over", "settled": True}))

    settings = well.system.settings()
    with pymongo.MongoClient(settings.mongo_url) as client:
        tasks = client[settings.mongo_db]["tasks"]
        waiting.until_blocking(settled, f"task {task_id} is settled", timeout=TIMEOUT)
        tasks.update_one({"_id": task_id}, {"$set": {"spec": "none"}})
    return task_id


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill all but a twentieth of it."""
    with ExitStack() as stack:
        file = stack.enter_context((disk / "ballast").open("wb"))
        stack.callback((disk / "ballast").unlink)
        os.posix_fallocate(file.fileno(), 0, MEGABYTES * 1024**2 * 19 // 20)
        yield
