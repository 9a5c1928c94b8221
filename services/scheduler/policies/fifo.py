"""First in, first out: the task that has waited longest goes first."""

from __future__ import annotations

import heapq

from services.scheduler.policies.cursor import Cursor, FullShapes
from services.scheduler.policies.view import Score, View
from services.scheduler.queue.lanes import Lanes
from shared.models.work import Pending


class Fifo:
    """The policy that treats all users alike."""

    needs_shares = False

    def begin(self, lanes: Lanes, view: View) -> FifoPass:
        return FifoPass(lanes)

    def score(self, task: Pending, view: View) -> Score:
        """Return the waiting time in seconds, negated so that the longest goes first."""
        return Score({"waiting": task.queued_at - view.now})


class FifoPass:
    """
    A heap of cursors, merged by seniority. A cursor never returns an older task than before, so an outdated entry is
    corrected when it reaches the top.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._full = FullShapes()
        #: Of each cursor: a lower bound on the seniority of its first task (time, id), and the cursor.
        self._cursors = [(*queue.lanes[0][0].seniority, Cursor(queue, self._full)) for queue in lanes.queues.values()]
        heapq.heapify(self._cursors)

    def pop(self) -> Pending | None:
        while self._cursors:
            _, number, cursor = self._cursors[0]
            task = cursor.first()
            if task is None:
                heapq.heappop(self._cursors)
            elif task.id == number:
                return task
            else:
                heapq.heapreplace(self._cursors, (task.queued_at, task.id, cursor))
        return None

    def charge(self, task: Pending) -> None:
        self._cursors[0][2].advance()

    def skip(self, task: Pending) -> None:
        self._full.add(task)

    def skip_lasting(self, task: Pending) -> None:
        self._full.add_lasting(task)

    def hold(self, task: Pending) -> None:
        self._cursors[0][2].leave_lane()
