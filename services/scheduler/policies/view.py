"""What a policy knows besides the tasks, and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of tasks, and the cores and GB that they asked for, each times its task's seconds."""

    time: float = 0.0
    cpu: float = 0.0
    ram: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.time + other.time, self.cpu + other.cpu, self.ram + other.ram)


@dataclass(frozen=True, slots=True)
class Standing:
    """
    A user or a project: `prio` from 0 to 100, what was used within the window, and how many seconds one of their tasks is
    expected to take.
    """

    prio: float = 50.0
    usage: Usage = Usage()
    expected: float = 60.0


@dataclass(frozen=True, slots=True)
class View:
    """
    Users and projects at one moment, `now` in seconds since the epoch. `user_mean` and `project_mean` are what those who used
    anything used on the average: the unit in which usage is weighed, never 0. Who is not named is a `newcomer`.
    """

    now: float
    users: Mapping[str, Standing] = field(default_factory=dict)
    projects: Mapping[str, Standing] = field(default_factory=dict)
    user_mean: Usage = Usage(1.0, 1.0, 1.0)
    project_mean: Usage = Usage(1.0, 1.0, 1.0)
    newcomer: Standing = Standing()

    def user(self, name: str) -> Standing:
        return self.users.get(name, self.newcomer)

    def project(self, name: str) -> Standing:
        return self.projects.get(name, self.newcomer)


@dataclass(frozen=True, slots=True)
class Score:
    """How urgent a task is: the lowest total goes first."""

    parts: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.parts.values())
