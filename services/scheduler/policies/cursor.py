"""Iterate one owner's tasks in order, skipping shapes known not to fit."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from services.scheduler.queue.lanes import Queue
from shared.models.work import Pending

#: Of the first task left in a lane: when it was queued, its id, its place in the lane; and the lane.
_Begun = tuple[float, int, int, Sequence[Pending]]


class FullShapes:
    """The shapes that find no room in a pass, each with the shortest lifespan (seconds) to skip; 0 skips all."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}

    def add(self, task: Pending) -> None:
        """Skip all tasks of this shape."""
        self.since[task.shape] = 0.0

    def add_lasting(self, task: Pending) -> None:
        """Skip tasks of this shape that may run as long or longer."""
        lifespan = float("inf") if task.lifespan is None else task.lifespan
        self.since[task.shape] = min(lifespan, self.since.get(task.shape, lifespan))


class Cursor:
    """
    A position in one queue, which leaves the book unchanged. Lanes that the pass has not reached are in the queue from
    `_next` on; lanes that it has taken tasks from are in the heap `_begun`.
    """

    __slots__ = ("_begun", "_first", "_full", "_next", "_queue")

    def __init__(self, queue: Queue, full: FullShapes) -> None:
        self._queue = queue
        self._next = 0
        self._begun: list[_Begun] = []
        self._full = full.since
        self._first: Pending | None = None

    def first(self) -> Pending | None:
        """Return the oldest task left that may find room; it is never older than the one before."""
        first = self._first
        if first is None or (first.shape in self._full and self._is_full(first)):
            self._first = first = self._find()
        return first

    def advance(self) -> None:
        """Advance past the first task, which was placed."""
        if self._is_begun:
            _, _, place, lane = heapq.heappop(self._begun)
        else:
            place, lane = 0, self._queue.lanes[self._next]
            self._next += 1
        if place + 1 < len(lane):
            task = lane[place + 1]
            heapq.heappush(self._begun, (task.queued_at, task.id, place + 1, lane))
        self._first = None

    def leave_lane(self) -> None:
        """Skip the rest of the first task's lane."""
        if self._is_begun:
            heapq.heappop(self._begun)
        else:
            self._next += 1
        self._first = None

    @property
    def _is_begun(self) -> bool:
        """True if the lane of the first task is in the heap."""
        return bool(self._begun) and self._begun[0][1] == (self._first.id if self._first else None)

    def _find(self) -> Pending | None:
        fresh = self._find_fresh()
        while self._begun and self._is_full(self._begun[0][3][self._begun[0][2]]):
            heapq.heappop(self._begun)
        if not self._begun:
            return fresh
        _, _, place, lane = self._begun[0]
        begun = lane[place]
        return begun if fresh is None or begun.seniority < fresh.seniority else fresh

    def _find_fresh(self) -> Pending | None:
        """Return the first task of the next lane that may find room. With many full shapes it skips most lanes."""
        shapes, lifespans, full = self._queue.shapes, self._queue.lifespans, self._full
        place, end = self._next, len(shapes)
        while place < end and shapes[place] in full:
            lifespan = lifespans[place]
            if lifespan is not None and lifespan < full[shapes[place]]:
                break
            place += 1
        self._next = place
        return self._queue.lanes[place][0] if place < end else None

    def _is_full(self, task: Pending) -> bool:
        since = self._full.get(task.shape)
        return since is not None and (task.lifespan is None or task.lifespan >= since)
