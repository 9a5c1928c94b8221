"""First in, first out: the task that has waited longest goes first, whosever it is."""

from __future__ import annotations

import heapq
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


class FifoPass:
    """
    Merges the lanes by seniority. A lane whose shape found no room is left out of the rest of the pass, so a pass costs what
    it places plus the number of lanes, not what waits in them.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._heap = [(lane[0].seniority, number, 0, lane) for number, lane in enumerate(lanes.values())]
        heapq.heapify(self._heap)
        self._full: set[str] = set()
        self._offered: tuple[int, int, Sequence[Pending]] | None = None

    def pop(self) -> Pending | None:
        while self._heap:
            _, number, position, lane = heapq.heappop(self._heap)
            task = lane[position]
            if task.shape not in self._full:
                self._offered = (number, position, lane)
                return task
        return None

    def charge(self, task: Pending) -> None:
        assert self._offered is not None
        number, position, lane = self._offered
        if position + 1 < len(lane):
            heapq.heappush(self._heap, (lane[position + 1].seniority, number, position + 1, lane))

    def skip(self, task: Pending) -> None:
        self._full.add(task.shape)

    def hold(self, task: Pending) -> None:
        self._offered = None
