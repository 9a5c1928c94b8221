"""Fair share: the task with the lowest ticket goes first, and each placement raises its owner's ticket at once."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.scheduler.policies import tickets
from services.scheduler.policies.cursor import Cursor, FullShapes
from services.scheduler.policies.tickets import Weights
from services.scheduler.policies.view import Score, View
from services.scheduler.queue.lanes import Lanes
from shared.models.project import DEFAULT
from shared.models.work import Pending

#: Heap entry of an owner for their first remaining task: ticket without the project's part, queue time, task id, owner.
_Entry = tuple[float, float, int, "_Owner"]


class FairShare:
    """The policy of `tickets`, with the weights of the configuration."""

    needs_shares = True

    def __init__(self, weights: Weights | Callable[[], Weights]) -> None:
        """`weights` may be a callable, if a reload can change them."""
        self._configured = weights

    @property
    def _weights(self) -> Weights:
        return self._configured() if callable(self._configured) else self._configured

    def begin(self, lanes: Lanes, view: View) -> FairSharePass:
        return FairSharePass(lanes, view, self._weights)

    def score(self, task: Pending, view: View) -> Score:
        """Return the ticket of `task`, by parts, before any other placement."""
        weights = self._weights
        return Score(
            tickets.task_parts(task, view.now, weights)
            | tickets.user_parts(view.user(task.user), view, weights)
            | tickets.group_parts(view.project(task.project), view, weights)
        )


class FairSharePass:
    """
    A heap of projects, each with a heap of owners: one for each user and ticket share. A ticket is the sum of one part
    per level, so a charge changes one number per level, however many tasks wait. Tickets only rise within a pass: an
    entry that a charge made too low is corrected when it reaches the top.
    """

    def __init__(self, lanes: Lanes, view: View, weights: Weights) -> None:
        self._view = view
        self._weights = weights
        self._full = FullShapes()
        self._users: dict[str, float] = {}
        per_second = weights.waiting_time / tickets.DAY
        self._of_waiting = (weights.waiting_time - per_second * view.now, per_second)
        projects: dict[str, _Project] = {}
        for (name, user, share), queue in lanes.queues.items():
            if user not in self._users:
                self._users[user] = sum(tickets.user_parts(view.user(user), view, weights).values())
            if name not in projects:
                projects[name] = _Project(sum(tickets.group_parts(view.project(name), view, weights).values()))
            owner = _Owner(user, share or 0.0, self._users, Cursor(queue, self._full), self._of_waiting)
            projects[name].owners.append(owner.entry(queue.lanes[0][0]))
        for project in projects.values():
            heapq.heapify(project.owners)
        self._projects = [project.entry() for project in projects.values()]
        heapq.heapify(self._projects)

    def pop(self) -> Pending | None:
        while self._projects:
            project = self._projects[0][3]
            task = project.first()
            if task is None:
                heapq.heappop(self._projects)
                continue
            entry = project.entry()
            if entry <= self._projects[0]:
                return task
            heapq.heapreplace(self._projects, entry)
        return None

    def charge(self, task: Pending) -> None:
        project = self._projects[0][3]
        project.cursor.advance()
        used = tickets.expected_usage(task, self._view.user(task.user))
        self._users[task.user] += tickets.user_charge(used, self._view, self._weights)
        if task.project != DEFAULT:
            project.ticket += tickets.group_charge(used, self._view, self._weights)

    def skip(self, task: Pending) -> None:
        self._full.add(task)

    def skip_lasting(self, task: Pending) -> None:
        self._full.add_lasting(task)

    def hold(self, task: Pending) -> None:
        self._projects[0][3].cursor.leave_lane()


@dataclass(frozen=True, slots=True)
class _Owner:
    """
    A user's tasks in one project with one ticket share. `of_waiting`: the waiting part of the ticket of a task queued
    at 0, and its rise for each second queued later.
    """

    user: str
    share: float
    tickets: Mapping[str, float]
    cursor: Cursor
    of_waiting: tuple[float, float]

    def entry(self, first: Pending) -> _Entry:
        """Return the entry for the heap of owners."""
        fresh, per_second = self.of_waiting
        ticket = self.tickets[self.user] + (fresh + per_second * first.queued_at + self.share)
        return ticket, first.queued_at, first.id, self


class _Project:
    """The owners of tasks in a project, and the project's part of their tickets."""

    __slots__ = ("owners", "ticket")

    def __init__(self, ticket: float) -> None:
        self.ticket = ticket
        self.owners: list[_Entry] = []

    def entry(self) -> tuple[float, float, int, _Project]:
        """Return the entry for the heap of projects."""
        ticket, queued_at, number, _ = self.owners[0]
        return self.ticket + ticket, queued_at, number, self

    @property
    def cursor(self) -> Cursor:
        """The cursor of the first owner."""
        return self.owners[0][3].cursor

    def first(self) -> Pending | None:
        """Bring the owner with the lowest ticket to the top and return their first task; None if none is left."""
        owners = self.owners
        while owners:
            owner = owners[0][3]
            task = owner.cursor.first()
            if task is None:
                heapq.heappop(owners)
                continue
            entry = owner.entry(task)
            if entry <= owners[0]:
                return task
            heapq.heapreplace(owners, entry)
        return None
