"""Processes that survive SIGKILL for a while: frozen in a separate control group (cgroup v1)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support import waiting

FREEZER = Path("/sys/fs/cgroup/freezer")
END_TIMEOUT = 120.0


def is_there() -> bool:
    return FREEZER.exists()


@contextlib.contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """
    Freeze the processes of a container: they are killed meanwhile and end when they are thawed. Not in the container's own
    group, which its engine would thaw to kill them.
    """
    ours = FREEZER / f"godocker-test-{os.getpid()}-{pids[0]}"
    ours.mkdir()
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # a child that has ended since
                (ours / "cgroup.procs").write_text(str(pid))
        (ours / "freezer.state").write_text("FROZEN")
        yield
    finally:
        (ours / "freezer.state").write_text("THAWED")
        waiting.until_blocking(lambda: not (ours / "cgroup.procs").read_text(), "they are killed", timeout=END_TIMEOUT)
        ours.rmdir()
