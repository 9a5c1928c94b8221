"""The runs of a simulated node as symbolic links, which are written and read in one system call."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shared.executors import types
from shared.rules.exit_codes import EXIT_KILLED, EXIT_TERMINATED

_NEW = "new"


@dataclass(frozen=True, slots=True)
class Simulated:
    """A simulated run. Times are seconds since the epoch; while it is paused, `ends_at` moves with the clock."""

    started_at: float
    ends_at: float
    exit_code: int
    ignores_term: bool = False
    paused_at: float | None = None

    def has_ended(self, now: float) -> bool:
        return self.paused_at is None and now >= self.ends_at

    def stopped(self, now: float) -> Simulated:
        if self.has_ended(now):
            return self
        return replace(
            self, ends_at=now, exit_code=EXIT_KILLED if self.ignores_term else EXIT_TERMINATED, paused_at=None
        )

    def paused(self, now: float) -> Simulated:
        return self if self.paused_at is not None else replace(self, paused_at=now)

    def resumed(self, now: float) -> Simulated:
        if self.paused_at is None:
            return self
        return replace(self, ends_at=self.ends_at + now - self.paused_at, paused_at=None)

    def observation(self, handle: types.Handle, now: float) -> types.Observation:
        ended = self.has_ended(now)
        running = types.RunState.RUNNING if self.paused_at is None else types.RunState.PAUSED
        return types.Observation(
            handle=handle,
            state=types.RunState.EXITED if ended else running,
            exit_code=self.exit_code if ended else None,
            started_at=self.started_at,
            ended_at=self.ends_at if ended else None,
        )

    def to_text(self) -> str:
        paused_at = "" if self.paused_at is None else self.paused_at
        fields = (self.started_at, self.ends_at, self.exit_code, int(self.ignores_term), paused_at)
        return ",".join(map(str, fields))

    @classmethod
    def from_text(cls, text: str) -> Simulated:
        started_at, ends_at, exit_code, ignores_term, paused_at = text.split(",")
        return cls(
            float(started_at),
            float(ends_at),
            int(exit_code),
            ignores_term == "1",
            float(paused_at) if paused_at else None,
        )


class Runs:
    """The runs of one node."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._prefix = f"{directory}/"
        self._made = False

    @property
    def directory(self) -> Path:
        """The directory of the links, created at the first access."""
        if not self._made:
            (self._directory / _NEW).mkdir(parents=True, exist_ok=True)
            self._made = True
        return self._directory

    def add(self, name: str, run: Simulated) -> bool:
        """Add a run. Return False where its name exists already."""
        if not self._made:
            _ = self.directory
        try:
            os.symlink(run.to_text(), self._prefix + name)
        except FileExistsError:
            return False
        return True

    def read(self, name: str) -> Simulated | None:
        try:
            return Simulated.from_text(os.readlink(self._prefix + name))
        except (OSError, ValueError):
            return None

    def replace(self, name: str, run: Simulated) -> None:
        # Two processes may replace the same run at once: one finds the name taken, and the other's link is as good.
        new = self.directory / _NEW / name
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.symlink(run.to_text(), new)
            os.replace(new, self._prefix + name)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._prefix + name)

    def names(self) -> Sequence[str]:
        return [name for name in os.listdir(self.directory) if types.parse_name(name)]
