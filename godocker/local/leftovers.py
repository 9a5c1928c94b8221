"""End what an earlier `up` left behind when it was killed."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import psutil
import structlog

log = structlog.get_logger(__name__)

GRACE = 20.0  #: seconds between SIGTERM and SIGKILL
DATA_DIR = "GODOCKER_DATA_DIR"


def end(run: Path, data_dir: Path) -> list[str]:
    """End every process that a pid file below `run` names and that was started for `data_dir`; return their names."""
    found = {file.stem: process for file in run.glob("*.pid") if (process := _ours(file, data_dir))}
    processes = list(found.values())
    for process in processes:
        _send(process, signal.SIGTERM)
        _send(process, signal.SIGCONT)  # a stopped one would not hear the first
    _, stubborn = psutil.wait_procs(processes, timeout=GRACE)
    for process in stubborn:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=GRACE)
    for name, process in found.items():
        log.info("leftover.ended", name=name, pid=process.pid)
        (run / f"{name}.pid").unlink(missing_ok=True)
    return sorted(found)


def _ours(file: Path, data_dir: Path) -> psutil.Process | None:
    """
    The process of a pid file, if it is the one that was written there. The number may have gone to somebody else
    since: to a process without our environment, or to a task with it, which then is younger than the file.
    """
    try:
        process = psutil.Process(int(file.read_text()))
        if process.pid == os.getpid() or process.environ().get(DATA_DIR) != str(data_dir):
            return None
        return process if process.create_time() <= file.stat().st_mtime + 1 else None
    except (OSError, ValueError, psutil.Error):
        return None


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)
