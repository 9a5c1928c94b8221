"""Gateway processes that share one listening socket and are restarted when they die."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import structlog

from godocker.local import child_process, open_files, signals, supervisor
from shared.http import binding
from shared.settings import Settings

log = structlog.get_logger(__name__)

STOP_GRACE = 13.0  #: seconds a process may drain before it is killed; `shared.runtime.lifetime` takes 11
_BACKLOG = 2048
_METRICS = "PROMETHEUS_MULTIPROC_DIR"


def run(settings: Settings, workers: int) -> None:
    """
    Serve with `workers` processes until SIGINT or SIGTERM. They log to our standard error. Raises `errors.ConfigurationError` if
    the address is not available.
    """
    open_files.raise_open_files()
    with signals.caught() as requests, tempfile.TemporaryDirectory(prefix="godocker-gateways-") as folder:
        watched = supervisor.Supervisor()
        with listen(settings.host, settings.port) as listening:
            environment = {**os.environ, **shared_metrics(Path(folder), workers)}
            try:
                for name in names(workers):
                    watched.start(child_process.Child(program(name, listening.fileno(), environment)))
                watched.keep(requests, reload=names(workers))
            finally:
                # Refuse new connections at once, rather than leave them in an unserved backlog.
                listening.close()
                watched.stop([names(workers)], grace=STOP_GRACE, requests=requests)


def names(workers: int) -> list[str]:
    return ["api", *(f"api-{number}" for number in range(2, workers + 1))]


def listen(host: str, port: int) -> socket.socket:
    """Open a socket whose connections wait while a worker restarts. Raises `errors.ConfigurationError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise binding.refused(host, port, error) from None


def shared_metrics(folder: Path, workers: int) -> dict[str, str]:
    """Return the variables by which workers sum their metrics, in files below `folder` that are deleted at each start."""
    files = folder / "prometheus"
    shutil.rmtree(files, ignore_errors=True)
    if workers == 1:
        return {}
    files.mkdir()
    return {_METRICS: str(files)}


def program(name: str, descriptor: int, environment: Mapping[str, str]) -> child_process.Program:
    # -P: a folder called `shared` in the working directory is not our package.
    argv = [sys.executable, "-P", "-m", "godocker", "api", "--fd", str(descriptor)]
    return child_process.Program(name=name, argv=argv, environment=environment, pass_fds=(descriptor,), reloads=True)
