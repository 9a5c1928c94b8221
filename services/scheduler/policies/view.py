"""Input of a policy beside the tasks (usage, priorities), and its output (scores)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of tasks, and the cores and GB that they asked for, each multiplied by the task's seconds."""

    time: float = 0.0
    cpu: float = 0.0
    ram: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.time + other.time, self.cpu + other.cpu, self.ram + other.ram)


@dataclass(frozen=True, slots=True)
class OwnerUsage:
    """
    A user's or a project's priority (0 to 100), its usage within the window, and the seconds that one of its tasks is
    expected to take.
    """

    prio: float = 50.0
    usage: Usage = Usage()
    expected: float = 60.0


@dataclass(frozen=True, slots=True)
class View:
    """
    Users and projects at one moment, `now` in seconds since the epoch. `user_mean` and `project_mean` are the mean
    usage of those who used anything: the unit in which usage is weighed, never 0. A user or project without an entry
    counts as `newcomer`.
    """

    now: float
    users: Mapping[str, OwnerUsage] = field(default_factory=dict)
    projects: Mapping[str, OwnerUsage] = field(default_factory=dict)
    user_mean: Usage = Usage(1.0, 1.0, 1.0)
    project_mean: Usage = Usage(1.0, 1.0, 1.0)
    newcomer: OwnerUsage = OwnerUsage()

    def user(self, name: str) -> OwnerUsage:
        return self.users.get(name, self.newcomer)

    def project(self, name: str) -> OwnerUsage:
        return self.projects.get(name, self.newcomer)


@dataclass(frozen=True, slots=True)
class Score:
    """The urgency of a task, by parts; the lowest total goes first."""

    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())
