"""Cleanup of processes left by a killed `up`."""

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
    """Stop the processes of all pid files below `run` that were started for `data_dir`, and return their names."""
    processes = {file.stem: process for file in run.glob("*.pid") if (process := _ours(file, data_dir))}
    for process in processes.values():
        _send(process, signal.SIGTERM)
        _send(process, signal.SIGCONT)  # a stopped process would not handle SIGTERM
    _, stubborn = psutil.wait_procs(list(processes.values()), timeout=GRACE)
    for process in stubborn:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=GRACE)
    for name, process in processes.items():
        log.info("leftover.ended", name=name, pid=process.pid)
        (run / f"{name}.pid").unlink(missing_ok=True)
    return sorted(processes)


def _ours(file: Path, data_dir: Path) -> psutil.Process | None:
    """
    Return the process of a pid file if it is still the original one. The pid may have been reused by a process without our
    environment, or by a task with it, which is then younger than the file.
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
