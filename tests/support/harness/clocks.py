"""Whole services as processes whose clocks differ, by the library libfaketime."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from godocker.local import ports
from shared.settings import Settings
from tests.support import waiting
from tests.support.harness import deaths
from tests.support.harness.system import COMMAND, clean_environment
from tests.support.servers.engine import cannot_have

SERVICES = ("files", "scheduler", "watcher", "api")
START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0

#: libfaketime 0.9.10 rejects absolute sleeps on a monotonic clock that it does not change, which `time.sleep` uses.
_SLEEP = """\
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""
_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@contextmanager
def running(settings: Settings, folder: Path, *, ahead: Mapping[str, int]) -> Iterator[dict[str, str]]:
    """
    Run the services of a system on the process executor, each with a clock that is ahead by so many seconds. Yields the
    address of each. Monotonic clocks and file times are unchanged.
    """
    if not _LIBRARIES:
        cannot_have("faketime", "libfaketime is not installed (Debian: apt-get install faketime)")
    (folder / "python").mkdir()
    (folder / "python" / "sitecustomize.py").write_text(_SLEEP)
    found = ports.reserve(folder / "ports.json", SERVICES)
    environment = {
        **clean_environment(),
        **deaths.environment(settings),
        **{f"GODOCKER_{_setting(name)}": str(port) for name, port in found.items()},
        "GODOCKER_FILES_URL": f"http://{ports.LOOPBACK}:{found['files']}",
        "GODOCKER_EXECUTOR": "process",
        "LD_PRELOAD": str(_LIBRARIES[0]),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",  # its name in older versions
        "NO_FAKE_STAT": "1",
        "PYTHONPATH": str(folder / "python"),
    }
    addresses = {name: f"http://{ports.LOOPBACK}:{port}" for name, port in found.items()}
    with ExitStack() as stack:
        for name in SERVICES:
            stack.enter_context(_service(name, {**environment, "FAKETIME": f"{ahead[name]:+d}"}, folder))
        for name, address in addresses.items():
            waiting.until_blocking(
                lambda address=address: _is_well(address),  # type: ignore[misc]
                f"{name} is well",
                timeout=START_TIMEOUT,
            )
        yield addresses


def _setting(service: str) -> str:
    return "PORT" if service == "api" else f"{service.upper()}_PORT"


@contextmanager
def _service(name: str, environment: Mapping[str, str], folder: Path) -> Iterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, name], env=dict(environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _is_well(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
