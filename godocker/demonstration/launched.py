"""A `godocker up` for the demonstration, with a temporary data directory."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from godocker.local import child_process, data_directory
from shared import clock, errors

_COMMAND = (sys.executable, "-P", "-m", "godocker")
_READY = re.compile(r"^GoDocker is ready at (http://\S+)$", re.MULTILINE)
_START_TIMEOUT = 75.0  #: seconds; `up` itself gives up after 60
_STOP_TIMEOUT = 60.0
_COMMAND_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Launched:
    """A running system that is ready for requests."""

    base_url: str
    data_dir: Path
    environment: Mapping[str, str]

    def add_user(self, login: str) -> str:
        """Add a user with a uid and gid that tasks can run as, and return the API key."""
        # Without root, tasks can run only as ourselves.
        numbers = [] if os.geteuid() == 0 else ["--uid", str(os.getuid()), "--gid", str(os.getgid())]
        answer = subprocess.run(
            [*_COMMAND, "user", "add", login, *numbers, "--data-dir", str(self.data_dir)],
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT,
            check=False,
            env=self.environment,
        )
        if answer.returncode != 0:
            raise errors.ConfigurationError(f"cannot add the user {login}: {answer.stderr.strip()}")
        return str(json.loads(answer.stdout)["apikey"])


@contextmanager
def system(executor: str, extra: Mapping[str, str]) -> Iterator[Launched]:
    """Start a system on a free port and stop it at the end. Raises `errors.ConfigurationError`."""
    folder = Path(tempfile.mkdtemp(prefix="godocker-demo-"))
    folder.chmod(0o711)  # tasks of other users traverse it
    environment = {name: value for name, value in os.environ.items() if not name.startswith(data_directory.PREFIX)}
    environment.update(extra)
    # Separates our containers from those of other systems on the same engine.
    environment["GODOCKER_INSTANCE"] = f"demo-{os.getpid()}"
    up = child_process.Child(
        child_process.Program(
            name="up",
            argv=[*_COMMAND, "up", "--data-dir", str(folder / "data"), "--port", "0", "--executor", executor],
            log=folder / "up.log",
            pid_file=folder / "up.pid",
            environment=environment,
        )
    )
    try:
        up.start()
        yield Launched(_wait_ready(up, folder / "up.log"), folder / "data", environment)
    finally:
        up.stop(_STOP_TIMEOUT)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_ready(up: child_process.Child, log: Path) -> str:
    deadline = clock.monotonic() + _START_TIMEOUT
    while not (ready := _READY.search(log.read_text(errors="replace"))):
        if not up.is_running() or clock.monotonic() > deadline:
            raise errors.ConfigurationError(f"the system did not start:\n{child_process.tail(log)}")
        time.sleep(0.05)
    return ready[1]
