"""First in, first out: the task that has waited longest goes first, whosever it is."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence

from services.scheduler.policies.base import Lanes
from services.scheduler.policies.view import Score, View
from shared.store.work import Pending


class Fifo:
    """The policy without an opinion on users."""

    needs_shares = False

    def begin(self, lanes: Lanes, view: View) -> FifoPass:
        return FifoPass(lanes)

    def score(self, task: Pending, view: View) -> Score:
        """The seconds it has waited; less is more."""
        return Score({"waiting": task.queued_at - view.now})


#: When the first task that is left was queued and its number; the place of that task in its lane; the lane.
_Lane = tuple[float, int, int, Sequence[Pending]]


class FifoPass:
    """
    A heap of shapes, each with a heap of its lanes, merged by seniority. A shape that finds no room leaves with all its lanes at
    once, so a pass costs what it places plus a look at each lane, not what waits in them.
    """

    def __init__(self, lanes: Lanes) -> None:
        by_shape: defaultdict[str, list[_Lane]] = defaultdict(list)
        for key, lane in lanes.items():
            first = lane[0]
            by_shape[key.shape].append((first.queued_at, first.id, 0, lane))
        self._shapes = [(*min(waiting)[:2], waiting) for waiting in by_shape.values()]
        heapq.heapify(self._shapes)
        self._sorted: set[str] = set()  # shapes whose lanes are a heap already

    def pop(self) -> Pending | None:
        if not self._shapes:
            return None
        waiting = self._shapes[0][2]
        shape = waiting[0][3][0].shape
        if shape not in self._sorted:
            heapq.heapify(waiting)
            self._sorted.add(shape)
        _, _, position, lane = waiting[0]
        return lane[position]

    def charge(self, task: Pending) -> None:
        waiting = self._shapes[0][2]
        _, _, position, lane = waiting[0]
        if position + 1 < len(lane):
            following = lane[position + 1]
            heapq.heapreplace(waiting, (following.queued_at, following.id, position + 1, lane))
        else:
            heapq.heappop(waiting)
        self._sort_in(waiting)

    def skip(self, task: Pending) -> None:
        heapq.heappop(self._shapes)

    def hold(self, task: Pending) -> None:
        waiting = self._shapes[0][2]
        heapq.heappop(waiting)
        self._sort_in(waiting)

    def _sort_in(self, waiting: list[_Lane]) -> None:
        """The first shape has another first task than before."""
        if waiting:
            heapq.heapreplace(self._shapes, (*waiting[0][:2], waiting))
        else:
            heapq.heappop(self._shapes)
