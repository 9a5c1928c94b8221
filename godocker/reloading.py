"""Reload of the settings in all services of a running `godocker up`, and collection of the results."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from godocker.local import data_directory
from godocker.local.data_directory import DataDirectory
from shared import clock, errors
from shared.config import reloads

TIMEOUT = 30.0  #: seconds for all services to answer
_POLL = 0.05
_NO_SERVICES = frozenset({"up", data_directory.MONGOD, data_directory.REDIS})


def reload(directory: DataDirectory) -> dict[str, reloads.Outcome]:
    """
    Reload the settings and return the outcome of each service, by name. Raises `errors.ConfigurationError` if no system runs
    there, or it belongs to another user.
    """
    holder = _running(directory)
    pids = dict(_services(directory))
    for pid in pids.values():
        reloads.take(directory.path, pid)  # drop the outcome of an earlier reload
    try:
        os.kill(holder, signal.SIGHUP)
    except PermissionError:
        raise errors.ConfigurationError(
            f"process {holder} belongs to another user: run this command as the user who runs `godocker up`"
        ) from None
    return _collect(directory, pids)


def _collect(directory: DataDirectory, pids: dict[str, int]) -> dict[str, reloads.Outcome]:
    outcomes: dict[str, reloads.Outcome] = {}
    deadline = clock.monotonic() + TIMEOUT
    while missing := pids.keys() - outcomes.keys():
        now = dict(_services(directory))
        for name in missing:
            if outcome := reloads.take(directory.path, pids[name]):
                outcomes[name] = outcome
            elif name in now and now[name] != pids[name]:
                outcomes[name] = reloads.Outcome(error="it was restarted in the meantime, with the new settings")
            elif clock.monotonic() > deadline:
                outcomes[name] = reloads.Outcome(error=f"it did not answer within {TIMEOUT:g} s: see log/{name}.log")
        time.sleep(_POLL)
    return {name: outcomes[name] for name in pids}


def _running(directory: DataDirectory) -> int:
    """Return the pid of `godocker up`."""
    pid = _pid(directory.run / "up.pid")
    if pid is None or not psutil.pid_exists(pid):
        raise errors.ConfigurationError(f"godocker up does not run in {directory.path}")
    return pid


def _services(directory: DataDirectory) -> Iterator[tuple[str, int]]:
    for file in sorted(directory.run.glob("*.pid")):
        if file.stem not in _NO_SERVICES and (pid := _pid(file)) is not None:
            yield file.stem, pid


def _pid(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
