"""A system with the simulated executor whose pretended runs cost as little as can be."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.harness.system import System

#: Where files are in memory. The links that stand for runs are no part of what is measured; task directories stay on disk.
_MEMORY = Path("/dev/shm")
REMARK = "the simulated runs are links in memory; stores and task directories are on disk"


@contextmanager
def running(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[System]:
    """A system of its own, ready; gone at the end with all it made. `arguments` go to `godocker up`."""
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
