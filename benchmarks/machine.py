"""Description of the machine and its software, so that figures can be compared."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import psutil

from godocker.local.embedded import programs

BUSY = 1.0  #: load average at the start above which figures are not to be trusted

_ROOT = Path(__file__).parent.parent
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")


def description() -> dict[str, str]:
    """Return the properties of the machine, by name."""
    return {
        "cores": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{psutil.virtual_memory().total / 1024**3:.1f} GB",
        "kernel": platform.release(),
        "system": _system(),
        "Python": platform.python_version(),
        "MongoDB": _said(str(programs.mongod()), "--version"),
        "Redis": _said(str(programs.redis_server()), "--version"),
        "Docker": _said(shutil.which("dockerd"), "--version"),
        "GoDocker": commit(),
    }


def load_average() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]


def commit() -> str:
    """Return the commit, with a `+` if files differ from it; `unknown` outside a repository."""
    short = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "godocker", "services", "shared")
    return f"{short}{'+' if changed else ''}" if short else "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _said(program: str | None, option: str) -> str:
    if program is None:
        return "not installed"
    done = subprocess.run([program, option], capture_output=True, text=True, timeout=10, check=False)
    found = _VERSION.search(done.stdout)
    return found[0] if found else "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
