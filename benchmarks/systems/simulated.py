"""A system with the simulated executor, whose runs cost as little as possible."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.harness.system import System

#: A directory in memory. The links that represent runs are not measured; task directories stay on disk.
_MEMORY = Path("/dev/shm")
REMARK = "the simulated runs are links in memory; stores and task directories are on disk"


@contextmanager
def running(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[System]:
    """Start a temporary system, and remove it at the end with its data. `arguments` are passed to `godocker up`."""
    with (
        tempfile.TemporaryDirectory(prefix="god-bench-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryDirectory(
            prefix="god-bench-", dir=_MEMORY if _MEMORY.is_dir() else None, ignore_cleanup_errors=True
        ) as links,
    ):
        os.chmod(folder, 0o711)
        data = Path(folder) / "data"
        data.mkdir()
        (data / "simulated").symlink_to(links)
        system = System(data, ["--executor", "simulated", *arguments], environment or {})
        try:
            system.start()
            yield system
        finally:
            system.clean_up()
