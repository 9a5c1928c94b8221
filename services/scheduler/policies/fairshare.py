"""Fair share: the task with the lowest ticket goes first, and what is placed raises its owner's ticket at once."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence

from services.scheduler.policies import tickets
from services.scheduler.policies.base import Lanes
from services.scheduler.policies.tickets import Weights
from services.scheduler.policies.view import Score, View
from shared.models.project import DEFAULT
from shared.store.work import Pending

#: Of the first task that is left: ticket without its owner's part, seniority (two numbers, the second unique), place; the lane.
_Lane = tuple[float, float, int, int, Sequence[Pending]]
#: Of the first lane: ticket without the project's part, seniority; the user, and the heap of lanes.
_Owner = tuple[float, float, int, str, list[_Lane]]


class FairShare:
    """The policy of `tickets`, with the weights of the configuration."""

    needs_shares = True

    def __init__(self, weights: Weights | Callable[[], Weights]) -> None:
        """`weights` may be asked for each time, where they can change."""
        self._given = weights

    @property
    def _weights(self) -> Weights:
        return self._given() if callable(self._given) else self._given

    def begin(self, lanes: Lanes, view: View) -> FairSharePass:
        return FairSharePass(lanes, view, self._weights)

    def score(self, task: Pending, view: View) -> Score:
        """The ticket of `task`, before anything else is placed."""
        weights = self._weights
        return Score(
            tickets.task_parts(task, view.now, weights)
            | tickets.user_parts(view.user(task.user), view, weights)
            | tickets.group_parts(view.project(task.project), view, weights)
        )


class FairSharePass:
    """
    A heap of projects, each with a heap of its users, each with a heap of their lanes. A ticket is the sum of a part of each
    level, so that a charge concerns one entry per level, whatever waits beside it. A user's entries in their other projects,
    which a charge makes too low, are put right when they come to the top; tickets of users only rise within a pass.
    """

    def __init__(self, lanes: Lanes, view: View, weights: Weights) -> None:
        self._view = view
        self._weights = weights
        self._per_second = weights.waiting_time / tickets.DAY
        self._fresh = weights.waiting_time - self._per_second * view.now  #: with `_per_second · queued_at`: of waiting
        self._full: set[str] = set()
        self._users: dict[str, float] = {}
        projects: dict[str, _Project] = {}
        for (name, user), waiting in self._by_owner(lanes).items():
            if user not in self._users:
                self._users[user] = sum(tickets.user_parts(view.user(user), view, weights).values())
            if name not in projects:
                ticket = sum(tickets.group_parts(view.project(name), view, weights).values())
                projects[name] = _Project(ticket)
            heapq.heapify(waiting)
            projects[name].owners.append(self._owner(user, waiting))
        for project in projects.values():
            heapq.heapify(project.owners)
        self._projects = [project.entry() for project in projects.values()]
        heapq.heapify(self._projects)

    def _by_owner(self, lanes: Lanes) -> dict[tuple[str, str], list[_Lane]]:
        """The lanes of each project and user, in no order."""
        found: dict[tuple[str, str], list[_Lane]] = defaultdict(list)
        for key, lane in lanes.items():
            found[key.project, key.user].append(self._lane(0, lane))
        return found

    def pop(self) -> Pending | None:
        while self._projects:
            project = self._projects[0][3]
            if not self._put_right(project):
                heapq.heappop(self._projects)
                continue
            entry = project.entry()
            if entry > self._projects[0]:
                heapq.heapreplace(self._projects, entry)
                continue
            _, _, _, position, lane = project.owners[0][4][0]
            return lane[position]
        return None

    def charge(self, task: Pending) -> None:
        project = self._projects[0][3]
        waiting = project.owners[0][4]
        _, _, _, position, lane = waiting[0]
        if position + 1 < len(lane):
            heapq.heapreplace(waiting, self._lane(position + 1, lane))
        else:
            heapq.heappop(waiting)
        used = tickets.expected_usage(task, self._view.user(task.user))
        self._users[task.user] += tickets.user_charge(used, self._view, self._weights)
        if task.project != DEFAULT:
            project.ticket += tickets.group_charge(used, self._view, self._weights)
        self._sort_in(project)

    def skip(self, task: Pending) -> None:
        self._full.add(task.shape)

    def hold(self, task: Pending) -> None:
        project = self._projects[0][3]
        heapq.heappop(project.owners[0][4])
        self._sort_in(project)

    def _lane(self, position: int, lane: Sequence[Pending]) -> _Lane:
        task = lane[position]
        ticket = self._fresh + self._per_second * task.queued_at + (task.ticket_share or 0.0)
        return ticket, task.queued_at, task.id, position, lane

    def _owner(self, user: str, waiting: list[_Lane]) -> _Owner:
        ticket, queued_at, number, _, _ = waiting[0]
        return self._users[user] + ticket, queued_at, number, user, waiting

    def _sort_in(self, project: _Project) -> None:
        """The first owner of the first project has another first task than before, which may even have a lower ticket."""
        _, _, _, user, waiting = project.owners[0]
        if waiting:
            heapq.heapreplace(project.owners, self._owner(user, waiting))
        else:
            heapq.heappop(project.owners)
        if project.owners:
            heapq.heapreplace(self._projects, project.entry())
        else:
            heapq.heappop(self._projects)

    def _put_right(self, project: _Project) -> bool:
        """Let the first owner be the one whose turn it is, with a task that may find room. False where there is none."""
        owners = project.owners
        while owners:
            _, _, _, user, waiting = owners[0]
            while waiting and waiting[0][4][waiting[0][3]].shape in self._full:
                heapq.heappop(waiting)
            if not waiting:
                heapq.heappop(owners)
                continue
            true = self._owner(user, waiting)
            if true <= owners[0]:
                return True
            heapq.heapreplace(owners, true)
        return False


class _Project:
    """The users with tasks in a project, and the project's part of their tickets."""

    __slots__ = ("owners", "ticket")

    def __init__(self, ticket: float) -> None:
        self.ticket = ticket
        self.owners: list[_Owner] = []

    def entry(self) -> tuple[float, float, int, _Project]:
        """As the heap of projects holds it."""
        ticket, queued_at, number, _, _ = self.owners[0]
        return self.ticket + ticket, queued_at, number, self
