"""Deadlines of a node's running tasks by their lifespans: pure, the clocks are arguments."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from shared.lifecycle import STOPPING
from shared.models.work import Placed
from shared.units import durations

Key = tuple[int, int]  #: task and attempt


@dataclass(frozen=True, slots=True)
class Expired:
    task_id: int
    attempt: int
    limit: float  #: seconds


@dataclass(slots=True)
class _Entry:
    began: float  #: on the monotonic clock
    limit: float  #: seconds


class Lifespans:
    """
    A heap of deadlines. Wall clocks are read once, when a task is first seen; from then on its time is counted on the monotonic
    clock, so that no jump of a clock ends a task.
    """

    def __init__(self, most: float | None) -> None:
        """`most`: seconds that any task may run, whatever it asked for; a live setting."""
        self.most = most
        self._entries: dict[Key, _Entry] = {}
        self._heap: list[tuple[float, Key]] = []

    def limit(self, task: Placed) -> float | None:
        """Return the seconds that a task may run; None: no limit."""
        return durations.shortest(task.lifespan, self.most)

    def is_news(self, tasks: Iterable[Placed]) -> bool:
        """Return whether one of these tasks has a limit and was not seen before."""
        return any((task.id, task.attempt) not in self._entries for task in self._limited(tasks))

    def update(self, tasks: Iterable[Placed], *, now: float, monotonic: float) -> None:
        """
        Replace the watched tasks by these. `now` is in seconds since the epoch, from the earlier clock where clocks disagree;
        `monotonic` is the monotonic clock.
        """
        before, self._entries = self._entries, {}
        for task in self._limited(tasks):
            key, limit = (task.id, task.attempt), self.limit(task)
            assert task.started_at is not None
            assert limit is not None
            known = before.get(key)
            began = known.began if known else monotonic - max(0.0, now - task.started_at)
            self._entries[key] = _Entry(began, limit)
            if known is None or known.limit != limit:
                heapq.heappush(self._heap, (began + limit, key))
        if len(self._heap) > 2 * len(self._entries) + 100:
            self._heap = [(entry.began + entry.limit, key) for key, entry in self._entries.items()]
            heapq.heapify(self._heap)

    def due(self, monotonic: float) -> list[Expired]:
        """Return the tasks whose time is over: each once, and again after an `update` that still has it."""
        expired = []
        while self._heap and self._heap[0][0] <= monotonic:
            deadline, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is not None and entry.began + entry.limit == deadline:  # else it is gone, or its limit changed
                del self._entries[key]
                expired.append(Expired(*key, entry.limit))
        return expired

    def wait(self, monotonic: float, *, most: float) -> float:
        """Return the seconds until the next deadline, at most `most`."""
        return min(most, max(0.0, self._heap[0][0] - monotonic)) if self._heap else most

    def _limited(self, tasks: Iterable[Placed]) -> Iterable[Placed]:
        return (
            task
            for task in tasks
            if task.started_at is not None and task.intent not in STOPPING and self.limit(task) is not None
        )
