"""What is due to users and projects, from what they took: pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.scheduler.policies.view import Standing, Usage, View
from shared.models.project import DEFAULT
from shared.models.usage_sums import Priorities, UsageSum
from shared.models.work import Pending
from shared.units.sizes import GB

UNKNOWN = 60.0  #: seconds a task is expected to take before any has ended

Owner = tuple[str, str]  #: a user and a project


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read at one moment (`at`, seconds since the epoch)."""

    at: float
    ended: tuple[UsageSum, ...] = ()
    running: tuple[UsageSum, ...] = ()
    priorities: Priorities = field(default_factory=lambda: Priorities({}, {}))


@dataclass(frozen=True, slots=True)
class Charge:
    """Tasks that were placed since, and the cores and GB they asked for."""

    tasks: int = 0
    cores: float = 0.0
    gb: float = 0.0

    def plus(self, task: Pending) -> Charge:
        return Charge(self.tasks + 1, self.cores + task.cpus, self.gb + task.memory / GB)

    def __add__(self, other: Charge) -> Charge:
        return Charge(self.tasks + other.tasks, self.cores + other.cores, self.gb + other.gb)


def view(found: Snapshot, charges: Iterable[Mapping[Owner, Charge]], *, now: float) -> View:
    """
    The standings at `now`. What has ended counts what it took. What starts or runs counts what it took until now and, on top,
    what a task of its user usually takes: the duration of a task that has not ended is not known, so that it is as if it
    was memoryless. Without it, whoever has just filled the cluster would look as if they had nothing.
    """
    expected, newcomer = _expected(found.ended)
    users: dict[str, Usage] = defaultdict(Usage)
    projects: dict[str, Usage] = defaultdict(Usage)

    def count(user: str, project: str, usage: Usage) -> None:
        users[user] += usage
        projects[project] += usage

    for taken in found.ended:
        count(taken.user, taken.project, Usage(taken.time, taken.cpu, taken.ram))
    for taken in found.running:
        more = max(0.0, now - found.at) + expected.get(taken.user, newcomer)
        count(
            taken.user,
            taken.project,
            Usage(taken.time + taken.tasks * more, taken.cpu + taken.cores * more, taken.ram + taken.gb * more),
        )
    for charged in charges:
        for (user, project), charge in charged.items():
            more = expected.get(user, newcomer)
            count(user, project, Usage(charge.tasks * more, charge.cores * more, charge.gb * more))
    prios = found.priorities
    named = [used for name, used in projects.items() if name != DEFAULT]
    projects[DEFAULT] = _most(named)
    return View(
        now=now,
        users={
            name: Standing(prios.users.get(name, 50.0), users.get(name, Usage()), expected.get(name, newcomer))
            for name in users.keys() | prios.users.keys()
        },
        projects={
            name: Standing(prios.projects.get(name, 50.0), projects.get(name, Usage()))
            for name in projects.keys() | prios.projects.keys()
        },
        user_mean=_mean(users.values(), least=newcomer),
        project_mean=_mean(named, least=newcomer),
        newcomer=Standing(expected=newcomer),
    )


def merged(parts: Iterable[UsageSum]) -> tuple[UsageSum, ...]:
    """One row for each user in each project."""
    found: dict[Owner, UsageSum] = {}
    for part in parts:
        had = found.get((part.user, part.project))
        found[part.user, part.project] = part if had is None else _sum(had, part)
    return tuple(found.values())


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
    """The seconds that a task of each user took on the average, and one of anybody."""
    tasks: dict[str, int] = defaultdict(int)
    seconds: dict[str, float] = defaultdict(float)
    for taken in ended:
        tasks[taken.user] += taken.tasks
        seconds[taken.user] += taken.time
    mean = sum(seconds.values()) / sum(tasks.values()) if tasks else UNKNOWN
    return {user: max(1.0, seconds[user] / tasks[user]) for user in tasks}, max(1.0, mean)


def _most(used: Iterable[Usage]) -> Usage:
    """What everybody's project counts as: the heaviest of the others. Its own sum would punish whoever is in no other."""
    some = [Usage(), *used]
    return Usage(max(one.time for one in some), max(one.cpu for one in some), max(one.ram for one in some))


def _mean(used: Iterable[Usage], *, least: float) -> Usage:
    """Of those who used anything; at least that of one task with a core and a GB, so that it is never 0."""
    some = list(used)
    total = sum(some, Usage())
    count = max(1, len(some))
    return Usage(max(least, total.time / count), max(least, total.cpu / count), max(least, total.ram / count))
