"""Compute the usage view of users and projects that policies read: pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.scheduler.policies.view import OwnerUsage, Usage, View
from shared.models.project import DEFAULT
from shared.models.usage_sums import Priorities, UsageSum
from shared.models.work import Pending
from shared.units.sizes import GB

UNKNOWN = 60.0  #: seconds that a task is expected to take while none has ended

Owner = tuple[str, str]  #: a user and a project


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Usage and priorities as read at one moment (`at`, seconds since the epoch)."""

    at: float
    ended: tuple[UsageSum, ...] = ()
    running: tuple[UsageSum, ...] = ()
    priorities: Priorities = field(default_factory=lambda: Priorities({}, {}))


@dataclass(frozen=True, slots=True)
class Charge:
    """The tasks placed since the snapshot, and the cores and GB that they asked for."""

    tasks: int = 0
    cores: float = 0.0
    gb: float = 0.0

    def plus(self, task: Pending) -> Charge:
        return Charge(self.tasks + 1, self.cores + task.cpus, self.gb + task.memory / GB)

    def __add__(self, other: Charge) -> Charge:
        return Charge(self.tasks + other.tasks, self.cores + other.cores, self.gb + other.gb)


def view(snapshot: Snapshot, charges: Iterable[Mapping[Owner, Charge]], *, now: float) -> View:
    """
    Return the usage as of `now`. An ended task counts what it used. A starting or running task counts what it used so
    far, plus what a task of its user usually takes: its remaining duration is unknown and taken to be memoryless.
    Without this, a user who has just filled the cluster would appear to use nothing.
    """
    expected, newcomer = _expected(snapshot.ended)
    users: dict[str, Usage] = defaultdict(Usage)
    projects: dict[str, Usage] = defaultdict(Usage)

    def count(user: str, project: str, usage: Usage) -> None:
        users[user] += usage
        projects[project] += usage

    for taken in snapshot.ended:
        count(taken.user, taken.project, Usage(taken.time, taken.cpu, taken.ram))
    for taken in snapshot.running:
        more = max(0.0, now - snapshot.at) + expected.get(taken.user, newcomer)
        count(
            taken.user,
            taken.project,
            Usage(taken.time + taken.tasks * more, taken.cpu + taken.cores * more, taken.ram + taken.gb * more),
        )
    for charged in charges:
        for (user, project), charge in charged.items():
            more = expected.get(user, newcomer)
            count(user, project, Usage(charge.tasks * more, charge.cores * more, charge.gb * more))
    prios = snapshot.priorities
    named = [used for name, used in projects.items() if name != DEFAULT]
    projects[DEFAULT] = _most(named)
    return View(
        now=now,
        users={
            name: OwnerUsage(prios.users.get(name, 50.0), users.get(name, Usage()), expected.get(name, newcomer))
            for name in users.keys() | prios.users.keys()
        },
        projects={
            name: OwnerUsage(prios.projects.get(name, 50.0), projects.get(name, Usage()))
            for name in projects.keys() | prios.projects.keys()
        },
        user_mean=_mean(users.values(), least=newcomer),
        project_mean=_mean(named, least=newcomer),
        newcomer=OwnerUsage(expected=newcomer),
    )


def merged(parts: Iterable[UsageSum]) -> tuple[UsageSum, ...]:
    """Return one row for each user in each project."""
    sums: dict[Owner, UsageSum] = {}
    for part in parts:
        had = sums.get((part.user, part.project))
        sums[part.user, part.project] = part if had is None else _sum(had, part)
    return tuple(sums.values())


def _sum(one: UsageSum, other: UsageSum) -> UsageSum:
    return UsageSum(
        one.user,
        one.project,
        one.tasks + other.tasks,
        one.time + other.time,
        one.cpu + other.cpu,
        one.ram + other.ram,
        one.cores + other.cores,
        one.gb + other.gb,
    )


def _expected(ended: Iterable[UsageSum]) -> tuple[dict[str, float], float]:
    """Return the mean seconds of a task for each user, and for all users."""
    tasks: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    for taken in ended:
        tasks[taken.user] += taken.tasks
        seconds[taken.user] += taken.time
    mean = sum(seconds.values()) / sum(tasks.values()) if tasks else UNKNOWN
    return {user: max(1.0, seconds[user] / tasks[user]) for user in tasks}, max(1.0, mean)


def _most(used: Iterable[Usage]) -> Usage:
    """
    Return the usage of the default project: the heaviest of the others. Its own sum would penalize users without one.
    """
    some = [Usage(), *used]
    return Usage(max(one.time for one in some), max(one.cpu for one in some), max(one.ram for one in some))


def _mean(used: Iterable[Usage], *, least: float) -> Usage:
    """Return the mean over those who used anything, at least one task with a core and a GB, so that it is never 0."""
    some = list(used)
    total = sum(some, Usage())
    count = max(1, len(some))
    return Usage(max(least, total.time / count), max(least, total.cpu / count), max(least, total.ram / count))
