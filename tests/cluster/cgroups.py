"""The control groups of a cluster's containers, as the kernel shows them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.commands import ClusterError

ROOT = Path("/sys/fs/cgroup")
END_TIMEOUT = 20.0  #: seconds until killed processes must be gone


class Cgroup:
    """A group and its subgroups, in all hierarchies (version 1) or in the one (version 2)."""

    def __init__(self, path: str) -> None:
        """`path` as in `/proc/PID/cgroup`, with its leading slash."""
        self.path = path

    def pids(self) -> dict[str, list[int]]:
        """Return the live processes of each direct subgroup, by its name, without empty ones."""
        found: dict[str, set[int]] = {}
        for top in self._folders("pids"):
            # `walk` skips entries that disappear meanwhile.
            for folder, _, _ in os.walk(top):
                inside = Path(folder).relative_to(top).parts
                if inside:
                    with contextlib.suppress(OSError):
                        members = Path(folder, "cgroup.procs").read_text().split()
                        found.setdefault(inside[0], set()).update(map(int, members))
        return {name: sorted(pids) for name, pids in found.items() if pids}

    def freeze(self) -> None:
        """Stop everything in the group; on version 1 even SIGKILL waits."""
        self._set(frozen=True)

    def thaw(self) -> None:
        self._set(frozen=False)

    def traces(self) -> list[str]:
        """Return the directories of the group."""
        return [str(folder) for folder in self._folders()]

    def remove(self) -> None:
        """Remove the group once its killed processes have ended. Raises `ClusterError` if a process lives on."""
        self.thaw()
        deadline = time.monotonic() + END_TIMEOUT
        while self.traces():
            for top in self.traces():
                for folder, _, _ in os.walk(top, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(folder)
            if self.traces() and time.monotonic() > deadline:
                raise ClusterError(f"something in the control group {self.path} does not end: {self.pids()}")
            time.sleep(0.01)

    def _set(self, *, frozen: bool) -> None:
        for top in self._folders():
            for folder, _, files in os.walk(top):
                with contextlib.suppress(OSError):
                    if "freezer.state" in files:
                        Path(folder, "freezer.state").write_text("FROZEN" if frozen else "THAWED")
                    elif "cgroup.freeze" in files:
                        Path(folder, "cgroup.freeze").write_text("1" if frozen else "0")

    def _folders(self, controller: str = "*") -> Iterator[Path]:
        pattern = self.path.lstrip("/")
        one = ROOT / pattern
        if one.is_dir():
            yield one
        yield from (folder for folder in ROOT.glob(f"{controller}/{pattern}") if folder.is_dir())
