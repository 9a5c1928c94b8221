"""When the running tasks of a node have run for as long as they may: pure, the clocks come as arguments."""

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
    A heap of deadlines. How long a task has run is read from the clocks of the world once, when it is first seen; from then on it
    is counted on the monotonic clock, and no jump of a clock ends a task.
    """

    def __init__(self, most: float | None) -> None:
        """`most`: seconds that any task may run, whatever it asked for. It may be changed."""
        self.most = most
        self._entries: dict[Key, _Entry] = {}
        self._heap: list[tuple[float, Key]] = []

    def limit(self, task: Placed) -> float | None:
        """Seconds that a task may run; None: as long as it likes."""
        return durations.shortest(task.lifespan, self.most)

    def is_news(self, tasks: Iterable[Placed]) -> bool:
        """Whether there is a task with a limit among them whose start is not known yet."""
        return any((task.id, task.attempt) not in self._entries for task in self._limited(tasks))

    def update(self, tasks: Iterable[Placed], *, now: float, monotonic: float) -> None:
        """
        These are all that is placed. `now` is seconds since the epoch, of that clock which makes them younger where clocks
        disagree; `monotonic` the monotonic one.
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
        """Those whose time is over. Each is told once, and again after an `update` that still has it."""
        expired = []
        while self._heap and self._heap[0][0] <= monotonic:
            deadline, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is not None and entry.began + entry.limit == deadline:  # else: gone, or its limit was changed
                del self._entries[key]
                expired.append(Expired(*key, entry.limit))
        return expired

    def wait(self, monotonic: float, *, most: float) -> float:
        """Seconds until the next deadline, at most `most`."""
        return min(most, max(0.0, self._heap[0][0] - monotonic)) if self._heap else most

    def _limited(self, tasks: Iterable[Placed]) -> Iterable[Placed]:
        return (
            task
            for task in tasks
            if task.started_at is not None and task.intent not in STOPPING and self.limit(task) is not None
        )
