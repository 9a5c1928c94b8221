"""A cluster in virtual time, with the real book, policy and plan, and users who always have pending tasks."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from services.scheduler.cluster import Cluster
from services.scheduler.placement import planning
from services.scheduler.policies import usage_view
from services.scheduler.policies.base import Policy
from services.scheduler.policies.tickets import Weights
from services.scheduler.policies.view import Usage
from services.scheduler.queue.book import Book
from shared.executors.types import NodeReport
from shared.models.usage import window_start
from shared.models.usage_sums import Priorities, UsageSum
from shared.models.work import Pending
from shared.units.sizes import GB

DAY, MINUTE = 86400.0, 60.0
START = 20_000 * DAY
PLACEMENTS = 500
SHAPES = [(1, 2), (1, 4), (2, 4), (4, 8)]  #: cores and GB that tasks ask for
NODE_CPUS, NODE_GB = 16.0, 64


@dataclass(frozen=True, slots=True)
class VirtualUser:
    """A user who always has `backlog` pending tasks with an average duration of `hours`."""

    name: str
    project: str
    prio: float = 50
    backlog: int = 4
    hours: float = 4.0


@dataclass(frozen=True, slots=True)
class Run:
    task: Pending
    began: float
    ends: float

    def taken(self, until: float) -> UsageSum:
        seconds = until - self.began
        task = self.task
        return UsageSum(task.user, task.project, 1, seconds, task.cpus * seconds, task.memory / GB * seconds)


class VirtualCluster:
    """Nodes of 16 cores that are always full, so that differences in usage come from the policy alone."""

    def __init__(
        self,
        policy: Policy,
        users: Sequence[VirtualUser],
        *,
        nodes: int,
        project_prios: dict[str, float],
        days: int,
        seed: int = 1,
    ) -> None:
        """Create the cluster. `days` is the window of usage."""
        self.users = list(users)
        self._policy = policy
        self._days = days
        self._dice = random.Random(seed)
        self._prios = Priorities({user.name: user.prio for user in users}, project_prios)
        self._ids = itertools.count(1)
        self._book = Book()
        self._cluster = Cluster()
        self._cluster.observe(
            NodeReport(f"n{number}", "virtual", True, None, cpus=NODE_CPUS, memory=NODE_GB * GB)
            for number in range(nodes)
        )
        self._running: list[tuple[float, int, Run]] = []  # a heap
        self._ended: deque[tuple[float, UsageSum]] = deque()
        self._sums: dict[usage_view.Owner, UsageSum] = {}
        self._waiting: dict[str, int] = defaultdict(int)
        self._hours = {user.name: user.hours for user in users}
        self.placed: dict[str, int] = defaultdict(int)
        self.now = START
        self.passes = 0

    def join(self, user: VirtualUser) -> None:
        """Add a user who begins to submit tasks."""
        self.users.append(user)
        self._prios.users[user.name] = user.prio
        self._hours[user.name] = user.hours

    def step(self, seconds: float) -> None:
        """Advance the time, then plan."""
        self.now += seconds
        self._end()
        for user in self.users:
            fresh = [self._task(user) for _ in range(user.backlog - self._waiting[user.name])]
            self._waiting[user.name] += len(fresh)
            self._book.add(fresh)
        found = usage_view.Snapshot(self.now, tuple(self._sums.values()), self._held(), self._prios)
        turns = self._policy.begin(self._book.lanes, usage_view.view(found, (), now=self.now))
        plan = planning.plan(turns, self._cluster.snapshot(), limit=PLACEMENTS)
        self._book.discard([placed.task.id for placed in plan.placements])
        for placed in plan.placements:
            self._start(placed)
        self.passes += 1

    def usage(self) -> dict[str, Usage]:
        """Return each user's usage within the window, including running tasks so far."""
        total = {user.name: Usage() for user in self.users}
        for taken in [*self._sums.values(), *self._held()]:
            total[taken.user] += Usage(taken.time, taken.cpu, taken.ram)
        return total

    def _task(self, user: VirtualUser) -> Pending:
        cores, gb = self._dice.choice(SHAPES)
        shape = f"cpu={cores} ram={gb}"
        return Pending(next(self._ids), 0, user.name, user.project, shape, float(cores), gb * GB, self.now)

    def _start(self, placed: planning.Placement) -> None:
        task = placed.task
        self._waiting[task.user] -= 1
        self.placed[task.user] += 1
        self._cluster.allocate(task.id, 1, placed.given)
        self._cluster.written([(task.id, 1)])
        ends = self.now + self._dice.expovariate(1 / (self._hours[task.user] * 60 * MINUTE))
        heapq.heappush(self._running, (ends, task.id, Run(task, self.now, ends)))

    def _end(self) -> None:
        while self._running and self._running[0][0] <= self.now:
            ends, task_id, run = heapq.heappop(self._running)
            self._cluster.release([(task_id, 1)])
            taken = run.taken(ends)
            self._ended.append((ends, taken))
            self._count(taken, 1)
        since = window_start(self.now, days=self._days)
        while self._ended and self._ended[0][0] < since:
            self._count(self._ended.popleft()[1], -1)

    def _count(self, taken: UsageSum, sign: int) -> None:
        owner = taken.user, taken.project
        had = self._sums.get(owner, UsageSum(*owner, 0, 0, 0, 0))
        tasks = had.tasks + sign
        if tasks:
            self._sums[owner] = UsageSum(
                *owner,
                tasks,
                had.time + sign * taken.time,
                had.cpu + sign * taken.cpu,
                had.ram + sign * taken.ram,
            )
        else:
            self._sums.pop(owner, None)

    def _held(self) -> tuple[UsageSum, ...]:
        sums: dict[usage_view.Owner, list[float]] = defaultdict(lambda: [0.0] * 6)
        for _, _, run in self._running:
            taken, task = run.taken(self.now), run.task
            row = sums[task.user, task.project]
            more = (1, taken.time, taken.cpu, taken.ram, task.cpus, task.memory / GB)
            for place, value in enumerate(more):
                row[place] += value
        return tuple(
            UsageSum(*owner, int(row[0]), row[1], row[2], row[3], row[4], row[5]) for owner, row in sums.items()
        )


def due(users: Sequence[VirtualUser], project_prios: dict[str, float], weights: Weights) -> dict[str, float]:
    """
    Return the usage of each user, relative to the average, at which all tickets are equal: the solution of
    `W·r + G·(usage of the project / mean) = c − user_weight·(1 − prio) − group_weight·(1 − prio)`, without waiting.
    """
    of_user = weights.user_time + weights.user_cpu + weights.user_ram
    of_group = weights.group_time + weights.group_cpu + weights.group_ram
    members: dict[str, list[VirtualUser]] = defaultdict(list)
    for user in users:
        members[user.project].append(user)
    scale = of_group * len(members) / len(users)  # a project's part, per average user's usage in it

    def handicap(user: VirtualUser) -> float:
        project = project_prios.get(user.project, 50.0)
        return weights.user * (1 - user.prio / 100) + weights.group * (1 - project / 100)

    # For a project's n users: sum = (n·c − their handicaps) / (W + scale·n). All sums together equal the number of users.
    parts = {
        name: (len(group) / (of_user + scale * len(group)), sum(map(handicap, group)) / (of_user + scale * len(group)))
        for name, group in members.items()
    }
    level = (len(users) + sum(less for _, less in parts.values())) / sum(more for more, _ in parts.values())
    sums = {name: level * more - less for name, (more, less) in parts.items()}
    return {user.name: (level - handicap(user) - scale * sums[user.project]) / of_user for user in users}


def shares(cluster: VirtualCluster, weights: Weights) -> dict[str, float]:
    """Return each user's usage as weighted by the ticket, relative to the average."""
    usage = cluster.usage()
    total = sum(usage.values(), Usage())
    count = len(usage)
    kinds = (("time", weights.user_time), ("cpu", weights.user_cpu), ("ram", weights.user_ram))
    whole = sum(weight for _, weight in kinds)
    return {
        name: sum(weight * getattr(used, kind) * count / (getattr(total, kind) or 1.0) for kind, weight in kinds)
        / whole
        for name, used in usage.items()
    }
