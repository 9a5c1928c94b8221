"""First in, first out: the task that has waited longest goes first, whosever it is."""

from __future__ import annotations

import heapq

from services.scheduler.policies.cursor import Full, Line
from services.scheduler.policies.view import Score, View
from services.scheduler.queue.lanes import Lanes
from shared.models.work import Pending


class Fifo:
    """The policy without an opinion on users."""

    needs_shares = False

    def begin(self, lanes: Lanes, view: View) -> FifoPass:
        return FifoPass(lanes)

    def score(self, task: Pending, view: View) -> Score:
        """The seconds it has waited; less is more."""
        return Score({"waiting": task.queued_at - view.now})


class FifoPass:
    """
    A heap of lines, merged by seniority. What is left of a line is never older than what was taken of it, so that an entry is
    put right when it comes to the top.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._full = Full()
        #: When the first task of each line was queued, at the earliest, and its number; the line.
        self._lines = [(*queue.lanes[0][0].seniority, Line(queue, self._full)) for queue in lanes.queues.values()]
        heapq.heapify(self._lines)

    def pop(self) -> Pending | None:
        while self._lines:
            _, number, line = self._lines[0]
            task = line.first()
            if task is None:
                heapq.heappop(self._lines)
            elif task.id == number:
                return task
            else:
                heapq.heapreplace(self._lines, (task.queued_at, task.id, line))
        return None

    def charge(self, task: Pending) -> None:
        self._lines[0][2].advance()

    def skip(self, task: Pending) -> None:
        self._full.add(task)

    def skip_lasting(self, task: Pending) -> None:
        self._full.add_lasting(task)

    def hold(self, task: Pending) -> None:
        self._lines[0][2].leave()
