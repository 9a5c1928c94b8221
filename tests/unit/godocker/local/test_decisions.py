"""Tests of the decisions of `godocker up` before it starts anything."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as some

from godocker.local import child_process, data_directory, environment, leftovers, readiness, signals, supervisor
from shared import errors
from shared.settings import Node, Settings
from tests.support import waiting

_STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GODOCKER_")]:
        monkeypatch.delenv(name)


# --- the executor ------------------------------------------------------------------


def test_processes_are_chosen_with_a_warning_where_no_engine_answers(tmp_path: Path) -> None:
    chosen = environment.choose_executor("auto", Settings(), {"DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"})
    assert chosen.name == "process"
    assert chosen.warning
    assert "NOT ISOLATED" in chosen.warning


def test_configured_hosts_mean_docker() -> None:
    given = Settings(nodes=[Node(name="n1", url="tcp://192.0.2.1:2376")])
    assert environment.choose_executor("auto", given, {}).name == "docker"


def test_an_executor_that_is_configured_is_not_guessed() -> None:
    assert environment.choose_executor(None, Settings(executor="simulated"), {}).name == "simulated"


def test_the_engine_of_docker_host_is_passed_on() -> None:
    chosen = environment.choose_executor("docker", Settings(), {"DOCKER_HOST": "unix:///run/other.sock"})
    assert '"url":"unix:///run/other.sock"' in chosen.settings["GODOCKER_NODES"]


@pytest.mark.parametrize(
    ("executor", "host", "allowed", "refused"),
    [
        ("process", "127.0.0.1", False, False),
        ("process", "localhost", False, False),
        ("process", "::1", False, False),
        ("process", "0.0.0.0", False, True),
        ("process", "::", False, True),
        ("process", "node.example.org", False, True),
        ("process", "0.0.0.0", True, False),
        ("docker", "0.0.0.0", False, False),
    ],
)
def test_processes_are_only_served_to_this_machine(executor: str, host: str, allowed: bool, refused: bool) -> None:
    given = Settings(process_public=allowed)
    if refused:
        with pytest.raises(errors.ConfigurationError, match="process_public"):
            environment.check_public(executor, host, given)
    else:
        environment.check_public(executor, host, given)


# --- the data directory ------------------------------------------------------------


def test_secrets_are_made_once_and_closed_to_others(tmp_path: Path) -> None:
    data = data_directory.DataDirectory(tmp_path / "data")
    with data.held():
        first = data.secret("secret_passphrase")
        assert data.secret("secret_passphrase") == first
        assert data.secret("shared_secret_passphrase") != first
    assert len(first) == 64
    assert stat.S_IMODE((tmp_path / "data" / "secrets.json").stat().st_mode) == 0o600


def test_a_directory_is_held_by_one(tmp_path: Path) -> None:
    with (
        data_directory.DataDirectory(tmp_path).held(),
        pytest.raises(errors.ConfigurationError, match=f"process {os.getpid()}"),
        data_directory.DataDirectory(tmp_path).held(),
    ):
        pass
    with data_directory.DataDirectory(tmp_path).held():
        pass


def test_what_up_decided_is_found_by_later_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = data_directory.DataDirectory(data_directory.DEFAULT)
    with data.held():
        data.store_environment({"GODOCKER_MONGO_URL": "mongodb://example.org", "HOME": "/root"})
    assert data.environment() == {"GODOCKER_MONGO_URL": "mongodb://example.org"}
    monkeypatch.setattr(os, "environ", {})
    data_directory.adopt(None, configured=True)
    assert not os.environ
    data_directory.adopt(None, configured=False)
    assert os.environ["GODOCKER_MONGO_URL"] == "mongodb://example.org"


def test_a_directory_without_a_system_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="godocker up --data-dir"):
        data_directory.adopt(tmp_path, configured=False)


# --- restarts ----------------------------------------------------------------------


def test_delays_double_up_to_the_longest() -> None:
    delay, used = supervisor.FIRST_DELAY, []
    for _ in range(8):
        delay, now = supervisor.next_delay(delay, lived=0.1)
        used.append(now)
    assert used == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


@given(delay=some.floats(supervisor.FIRST_DELAY, supervisor.LONGEST_DELAY), lived=some.floats(0, 1e6))
def test_a_delay_is_never_outside_its_bounds(delay: float, lived: float) -> None:
    following, now = supervisor.next_delay(delay, lived=lived)
    assert supervisor.FIRST_DELAY <= now <= supervisor.LONGEST_DELAY
    assert now <= following <= supervisor.LONGEST_DELAY
    if lived >= supervisor.STEADY:
        assert now == supervisor.FIRST_DELAY


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    watching = supervisor.Supervisor()
    stubborn = _child(tmp_path, _STUBBORN)
    with signals.caught() as asked:
        watching.start(stubborn)
        _wait_for_output(stubborn)
        watching.stop([[stubborn.name]], grace=0.2, requests=asked)
    assert stubborn.exit_status() == -9
    assert not stubborn.program.pid_file.exists()


def test_a_process_that_refuses_to_start_is_logged_with_its_last_line(tmp_path: Path) -> None:
    watching = supervisor.Supervisor()
    refusing = _child(tmp_path, "import sys; print('earlier'); sys.exit('godocker: there is no policy fare')")
    with structlog.testing.capture_logs() as logged:
        watching.start(refusing)
        waiting.until_blocking(lambda: not refusing.is_running(), "it has ended")
        watching.restart_due(time.monotonic())
    (died,) = [line for line in logged if line["event"] == "process.died"]
    assert (died["status"], died["last_line"]) == (1, "there is no policy fare")


def test_whoever_asks_twice_does_not_wait(tmp_path: Path) -> None:
    watching = supervisor.Supervisor()
    stubborn = _child(tmp_path, _STUBBORN)
    with signals.caught() as asked:
        watching.start(stubborn)
        _wait_for_output(stubborn)

        class Impatient(signals.Signals):
            def wait(self, seconds: float) -> None:
                self.stops += 1

        impatient = Impatient(-1)
        watching.stop([[stubborn.name]], grace=60, requests=impatient)
    assert not stubborn.is_running()
    assert asked.stops == 0


def test_a_child_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys; from godocker.local import child_process; "
        "folder = pathlib.Path(sys.argv[1]); "
        "child = child_process.Child(child_process.Program('c', ['/bin/sleep', '60'], folder / 'log', folder / 'pid')); "
        "child.start(); print(child.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    assert parent.stdin
    child = int(parent.stdout.readline())
    with parent.stdout, parent.stdin:
        waiting.until_blocking(
            lambda: Path(f"/proc/{child}/comm").read_text().strip() == "sleep", "the child is a sleep"
        )
        parent.kill()
        parent.wait(10)
        waiting.until_blocking(lambda: not _runs(child), "the child has ended")


# --- leftovers ---------------------------------------------------------------------


def test_only_processes_of_this_directory_that_the_pid_file_means_are_ended(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    ours = _sleeper({"GODOCKER_DATA_DIR": str(tmp_path)})
    strangers = _sleeper({"GODOCKER_DATA_DIR": "/elsewhere"})
    task = _sleeper({"GODOCKER_DATA_DIR": str(tmp_path)})
    try:
        (run / "scheduler.pid").write_text(str(ours.pid))
        (run / "watcher.pid").write_text(str(strangers.pid))
        (run / "api.pid").write_text("not a number")
        # A number that was given to a younger process since the file was written.
        (run / "files.pid").write_text(str(task.pid))
        os.utime(run / "files.pid", (time.time() - 3600, time.time() - 3600))
        assert leftovers.end(run, tmp_path) == ["scheduler"]
        assert not _runs(ours.pid)
        assert strangers.poll() is None
        assert task.poll() is None
        assert not (run / "scheduler.pid").exists()
    finally:
        for process in (ours, strangers, task):
            process.kill()
            process.wait(10)


# --- addresses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("example.org", "http://example.org:80"),
    ],
)
def test_a_server_is_reached_where_it_listens(host: str, url: str) -> None:
    assert readiness.base_url(host, 80) == url


def test_a_request_to_reload_waits_for_a_service_that_is_starting(tmp_path: Path) -> None:
    code = """
import signal, sys, time
print("born", flush=True)
while signal.SIGHUP not in signal.sigpending():
    time.sleep(0.01)
signal.signal(signal.SIGHUP, lambda *_: sys.exit(7))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
"""
    child = _child(tmp_path, code, reloads=True)
    child.start()
    try:
        assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        child.signal(signal.SIGHUP)
        waiting.until_blocking(lambda: not child.is_running(), "the child has ended")
        assert child.exit_status() == 7
    finally:
        child.kill()


def _child(folder: Path, code: str, *, reloads: bool = False) -> child_process.Child:
    return child_process.Child(
        child_process.Program(
            "child", [sys.executable, "-c", code], folder / "child.log", folder / "child.pid", reloads=reloads
        )
    )


def _wait_for_output(child: child_process.Child) -> None:
    waiting.until_blocking(lambda: child.program.log.read_text() != "", "the child has said something")


def _sleeper(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "60"], env=environment)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
