"""The control groups that a cluster's containers are in, as the kernel shows them: who lives, and the end of all."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.commands import ClusterError

ROOT = Path("/sys/fs/cgroup")
END_TIMEOUT = 20.0  #: seconds for processes that were killed to be gone


class Cgroup:
    """A group and those below it, in all hierarchies (version 1) or in the one (version 2)."""

    def __init__(self, path: str) -> None:
        """`path` as in `/proc/PID/cgroup`, with its leading slash."""
        self.path = path

    def pids(self) -> dict[str, list[int]]:
        """The live processes of each group right below, by its name. Those that have none are left out."""
        found: dict[str, set[int]] = {}
        for top in self._folders("pids"):
            # `walk` passes over what goes while it looks.
            for folder, _, _ in os.walk(top):
                inside = Path(folder).relative_to(top).parts
                if inside:
                    with contextlib.suppress(OSError):
                        members = Path(folder, "cgroup.procs").read_text().split()
                        found.setdefault(inside[0], set()).update(map(int, members))
        return {name: sorted(pids) for name, pids in found.items() if pids}

    def freeze(self) -> None:
        """Let nothing in the group go on, SIGKILL included on version 1."""
        self._set(frozen=True)

    def thaw(self) -> None:
        self._set(frozen=False)

    def traces(self) -> list[str]:
        """Where it stands."""
        return [str(folder) for folder in self._folders()]

    def remove(self) -> None:
        """Remove the group, once what was killed in it has ended. Raises `ClusterError` where something lives on."""
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
