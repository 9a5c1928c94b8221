"""A whole system as a user runs it: `godocker up` as a process, used over HTTP and signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pymongo

from godocker.local.data_directory import DataDirectory
from shared.executors import types
from shared.settings import Settings
from tests.support import hanging, waiting

START_TIMEOUT = 75.0
STOP_TIMEOUT = 60.0
COMMAND = (sys.executable, "-P", "-m", "godocker")

_READY = re.compile(r"^GoDocker is ready at (http://\S+)$", re.MULTILINE)
_KEY = re.compile(r"^API key of the user admin, shown only once: (\S+)$", re.MULTILINE)


class System:
    """
    One `godocker up` and its data directory. It can be stopped or killed and started again; everything it started is gone
    at the end of `running_system`, whatever the test does.
    """

    def __init__(self, data_dir: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.data_dir = data_dir
        self.base_url = ""
        self.admin_key = ""
        self._directory = DataDirectory(data_dir)
        self._arguments = arguments
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    # --- up -------------------------------------------------------------------------

    def start(self) -> None:
        """Start `up` and wait for its ready line. Later starts use the first port again."""
        port = self.base_url.rpartition(":")[2] or "0"
        self._starts += 1
        with self._output("out").open("wb") as out, self._output("err").open("wb") as err:
            self._process = subprocess.Popen(
                [*COMMAND, "up", "--data-dir", str(self.data_dir), "--port", port, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**clean_environment(), **self._environment},
                # A group of its own, or a Ctrl-C at pytest would reach it too.
                start_new_session=True,
            )
        ready = waiting.until_blocking(
            self._ready_or_ended, "`godocker up` is ready or has ended", timeout=START_TIMEOUT, interval=0.05
        )
        assert isinstance(ready, re.Match), f"`godocker up` ended with {ready}:\n{self.stderr()}"
        self.base_url = ready[1]
        if key := _KEY.search(self.stdout()):
            self.admin_key = key[1]

    def stop(self) -> int:
        """Send SIGTERM to `up` and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_TIMEOUT)

    def kill_hard(self) -> None:
        """Send SIGKILL to `up`. The kernel sends its services SIGTERM; tasks run on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_TIMEOUT)

    @property
    def up_pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stdout(self) -> str:
        """Return the output of the latest `up`."""
        return self._output("out").read_text()

    def stderr(self) -> str:
        return self._output("err").read_text()

    # --- its services ---------------------------------------------------------------

    def pid(self, service: str) -> int:
        return int((self._directory.run / f"{service}.pid").read_text())

    def pids(self) -> dict[str, int]:
        """Return the process of each service and store."""
        return {file.stem: int(file.read_text()) for file in self._directory.run.glob("*.pid") if file.stem != "up"}

    def kill(self, service: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a service or store and return its process id."""
        pid = self.pid(service)
        os.kill(pid, number)
        return pid

    @contextmanager
    def hanging(self, service: str) -> Iterator[None]:
        """Hang a service or store: its port accepts connections, and nothing is answered."""
        pid = self.pid(service)
        hanging.stop(pid)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def log(self, service: str) -> str:
        return (self._directory.log / f"{service}.log").read_text(errors="replace")

    def settings(self) -> Settings:
        """Return the settings of its services, for access to its stores."""
        values = {
            name.removeprefix("GODOCKER_").lower(): value for name, value in self._directory.environment().items()
        }
        config = values.pop("config", None)
        assert config is None, "a system with a configuration file cannot be looked into by this helper"
        for name in Settings.model_fields.keys() & values.keys():
            if values[name].startswith(("[", "{")):
                values[name] = json.loads(values[name])
        return Settings.model_validate({name: values[name] for name in Settings.model_fields if name in values})

    @property
    def mark(self) -> str:
        """Return the mark in the names of its runs."""
        settings = self.settings()
        with pymongo.MongoClient[dict[str, Any]](settings.mongo_url) as client:
            found = client[settings.mongo_db]["schema"].find_one({"_id": "identity"})
        assert found is not None
        return str(found["mark"])

    def run_name(self, task_id: int, attempt: int = 1) -> str:
        return types.run_name(task_id, attempt, self.mark)

    # --- its users ------------------------------------------------------------------

    def run(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a `godocker` command on this system's data directory."""
        return subprocess.run(
            [*COMMAND, *arguments, "--data-dir", str(self.data_dir)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**clean_environment(), **self._environment},
        )

    def add_user(self, login: str, *options: str) -> str:
        """Create a user and return the API key."""
        answer = self.run("user", "add", login, *options)
        assert answer.returncode == 0, answer.stderr
        return str(json.loads(answer.stdout)["apikey"])

    def token(self, user: str = "admin", apikey: str | None = None) -> str:
        """Return a session token of the user, by default of the administrator."""
        answer = httpx.post(
            f"{self.base_url}/api/1.0/authenticate",
            json={"user": user, "apikey": apikey or self.admin_key},
            timeout=30,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def client(self, token: str | None = None) -> httpx.Client:
        """Return a client of the gateway, logged in if a token is given. The caller closes it."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=30, trust_env=False)

    # --- the end --------------------------------------------------------------------

    def clean_up(self) -> None:
        """End everything that was started for this data directory, tasks of the process executor included."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_TIMEOUT)
        left = _processes_of(self.data_dir)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=10)

    def _output(self, stream: str) -> Path:
        return self.data_dir.parent / f"up-{self._starts}.{stream}"

    def _ready_or_ended(self) -> re.Match[str] | str | None:
        assert self._process is not None
        ended = self._process.poll()
        return _READY.search(self.stdout()) or (None if ended is None else f"exit code {ended}")


@contextmanager
def running_system(
    *arguments: str, environment: Mapping[str, str] | None = None, executor: str = "process"
) -> Iterator[System]:
    """
    Run a system of its own on a free port: `with running_system(executor="docker", environment={"DOCKER_HOST": …}) as
    system`. `arguments` go to `godocker up`; `environment` is added to ours, without GODOCKER_* variables.
    """
    assert threading.current_thread() is threading.main_thread()
    with tempfile.TemporaryDirectory(prefix="godocker-system-", ignore_cleanup_errors=True) as folder:
        # Tasks of other users must be able to pass through.
        os.chmod(folder, 0o711)
        system = System(Path(folder) / "data", ["--executor", executor, *arguments], environment or {})
        try:
            system.start()
            yield system
        finally:
            system.clean_up()


def clean_environment() -> dict[str, str]:
    """Return our environment without settings of GoDocker."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GODOCKER_")}


def _processes_of(data_dir: Path) -> list[psutil.Process]:
    """Return the processes whose environment or command line names the data directory."""
    found = []
    for process in psutil.process_iter():
        try:
            # Tasks have their directory there, services the whole path: both are below it.
            named = any(str(data_dir) in value for value in process.environ().values())
            if named or str(data_dir) in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [process for process in found if process.pid != os.getpid()]
