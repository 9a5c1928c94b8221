"""Processes that hang: they accept connections and answer nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support import waiting


def stop(pid: int) -> None:
    """Send SIGSTOP and return once all threads have stopped: each stops by itself, and until then one may still answer."""
    os.kill(pid, signal.SIGSTOP)
    waiting.until_blocking(lambda: _stands_still(pid), f"all threads of process {pid} have stopped")


def _stands_still(pid: int) -> bool:
    try:
        states = [
            thread.read_text().rpartition(")")[2].split()[0] for thread in Path(f"/proc/{pid}/task").glob("*/stat")
        ]
    except (FileNotFoundError, ProcessLookupError):
        return False  # a thread ended meanwhile
    return set(states) <= {"T", "Z"}
