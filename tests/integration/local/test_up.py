"""Tests of `godocker up`: start, supervision and stop of the whole system."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.acceptance.use.client import Client
from tests.support import hanging, samples, waiting
from tests.support.harness.system import COMMAND, System, running_system

pytestmark = pytest.mark.stores

SERVICES = {"mongod", "redis", "api", "scheduler", "watcher", "files"}


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running_system(executor="simulated") as system:
        yield system


def test_it_says_once_that_it_is_ready_and_gives_the_first_key(system: System) -> None:
    assert system.stdout().count("GoDocker is ready at ") == 1
    assert system.admin_key
    assert system.token()
    assert f"{system.base_url}/docs" in system.stdout()
    assert str(system.data_dir) in system.stdout()
    assert "Ctrl-C stops it" in system.stdout()


def test_it_leaves_a_pid_file_and_a_log_of_every_process(system: System) -> None:
    pids = system.pids()
    assert set(pids) == SERVICES
    assert all(psutil.pid_exists(pid) for pid in pids.values())
    assert all((system.data_dir / "log" / f"{name}.log").exists() for name in SERVICES)


def test_what_holds_secrets_is_closed_to_others(system: System) -> None:
    for file in ("secrets.json", "run/environment.json", "redis/redis.conf", "mongo/keyfile"):
        assert stat.S_IMODE((system.data_dir / file).stat().st_mode) == 0o600, file
    assert stat.S_IMODE((system.data_dir / "log").stat().st_mode) == 0o700


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_killed_process_is_started_again(system: System, service: str) -> None:
    killed = system.kill(service)
    waiting.until_blocking(lambda: system.pid(service) != killed, f"{service} was started again")
    waiting.until_blocking(lambda: _is_well(system), "the system is well again", timeout=30)


def test_a_second_up_on_the_same_directory_is_told_who_is_there(system: System) -> None:
    answer = system.run("up", "--port", "0", "--executor", "simulated")
    assert answer.returncode == 1
    assert f"process {system.up_pid}" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_user_is_made_once_and_never_as_root_unasked(system: System) -> None:
    assert system.token("carol", system.add_user("carol", "--email", "carol@example.org"))
    system.add_user("root")
    again = system.run("user", "add", "carol")
    assert again.returncode == 1
    assert "exists already" in again.stderr
    users = system.run("user", "list", "--json").stdout
    assert '"id": "carol"' in users
    assert '"uid": 0' not in users


@pytest.mark.parametrize("login", ["../x", "A", "a b", "$(id)", "-x", "a" * 33, ""])
def test_a_login_that_is_no_account_name_is_refused(system: System, login: str) -> None:
    answer = system.run("user", "add", "--", login)
    assert answer.returncode != 0
    assert "Traceback" not in answer.stderr


def test_it_stops_cleanly_and_goes_on_where_it_stopped() -> None:
    with running_system(executor="simulated") as system:
        key = system.add_user("dave")
        ports = (system.data_dir / "run" / "ports.json").read_text()
        pids = system.pids()
        assert system.stop() == 0
        assert not any(psutil.pid_exists(pid) for pid in pids.values())
        assert not list((system.data_dir / "run").glob("*.pid"))
        system.start()
        assert "shown only once" not in system.stdout()
        assert "tasks keep running;" not in system.stdout(), "there are none"
        assert f"godocker user key admin --data-dir {system.data_dir}" in system.stdout()
        assert (system.data_dir / "run" / "ports.json").read_text() == ports
        assert system.token("dave", key)


def test_at_its_end_it_says_how_many_tasks_keep_running() -> None:
    with running_system(executor="process") as system:
        with system.client(system.token()) as http:
            client = Client(http)
            ids = [client.submit(samples.submission(**{"command.cmd": "exec sleep 300"})) for _ in range(2)]
            for task_id in ids:
                client.wait(task_id, "running")
        assert system.stop() == 0
        assert f"2 tasks keep running; the next godocker up --data-dir {system.data_dir}" in system.stdout()


def test_a_killed_up_takes_its_services_down_and_the_next_one_takes_over() -> None:
    with running_system(executor="simulated") as system:
        before = system.pids()
        stopped = before["scheduler"]
        # One that cannot hear the kernel's SIGTERM: the next `up` has to end it.
        hanging.stop(stopped)
        system.kill_hard()
        others = [pid for pid in before.values() if pid != stopped]
        waiting.until_blocking(
            lambda: not any(_runs(pid) for pid in others), "the services of the killed `up` have ended", timeout=30
        )
        assert _runs(stopped)
        system.start()
        assert not _runs(stopped)
        assert system.token()


def test_processes_are_not_served_to_others_unless_it_is_allowed_by_name(tmp_path: Path) -> None:
    answer = subprocess.run(
        [*COMMAND, "up", "--data-dir", str(tmp_path), "--host", "0.0.0.0", "--port", "0", "--executor", "process"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert answer.returncode == 1
    assert "process_public" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_several_workers_share_the_gateway() -> None:
    with running_system("--workers", "2", executor="simulated") as system:
        assert {"api", "api-2"} <= set(system.pids())
        killed = system.kill("api-2")
        for _ in range(20):
            assert httpx.get(f"{system.base_url}/api/1.0/ping", timeout=10, trust_env=False).status_code == 200
        waiting.until_blocking(lambda: system.pid("api-2") != killed, "the second worker was started again")


def _is_well(system: System) -> bool:
    try:
        return httpx.get(f"{system.base_url}/health", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
