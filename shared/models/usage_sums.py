"""Recent usage and priorities of users and projects, as fair share reads them: pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UsageSum:
    """
    Sums over tasks of one user in one project: how many, their seconds, and the cores and GB they asked for, each times its
    task's seconds. `cores` and `gb` are of those that run on.
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
    """By name, from 0 to 100."""

    users: dict[str, float]
    projects: dict[str, float]
