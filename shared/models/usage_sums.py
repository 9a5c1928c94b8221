"""Sums of recent usage, and priorities, for fair share: pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UsageSum:
    """
    Sums over the tasks of one user in one project: `tasks` counts them, `time` is in seconds, `cpu` and `ram` are requested
    core-seconds and GB-seconds. `cores` and `gb` belong to the tasks that still run.
    """

    user: str
    project: str
    tasks: int
    time: float
    cpu: float
    ram: float
    cores: float = 0.0
    gb: float = 0.0


@dataclass(frozen=True, slots=True)
class Priorities:
    """Priorities by name, from 0 to 100."""

    users: dict[str, float]
    projects: dict[str, float]
