"""The book: the pending tasks in memory, those that may be placed in lanes, the others apart."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping

from services.scheduler.queue.lanes import Lanes
from shared.models.work import Pending


class Book:
    """
    Pending tasks in memory. It is a copy of MongoDB: a task that is in the book by mistake only loses the
    compare-and-set.

    A task is in a lane, from which it is offered to nodes, or in one of `gated` (it depends on tasks that are not
    over), `delayed` (it is between two attempts, see `ripen`) and `arrays` (parents, which are never placed
    themselves).
    """

    def __init__(self) -> None:
        self._tasks: dict[int, Pending] = {}
        self._lanes = Lanes()
        self._gated: dict[int, Pending] = {}
        self._delayed: dict[int, Pending] = {}
        self._arrays: dict[int, Pending] = {}
        self._times: list[tuple[float, int]] = []  # a heap of times at which tasks ripen; some entries are outdated
        self._taken: dict[int, int] = {}  # by task: the attempt before the one that it was taken out for
        self._taken_before: dict[int, int] = {}  # the same, until the last `keep_only`
        #: By parent, how many children of an array may be placed at a time. Other arrays have no limit.
        self.limits: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, task_id: int) -> bool:
        return task_id in self._tasks

    @property
    def lanes(self) -> Lanes:
        """The tasks that may be offered to nodes. Read only."""
        return self._lanes

    @property
    def gated(self) -> Mapping[int, Pending]:
        """The tasks that depend on tasks that are not over, by id."""
        return self._gated

    @property
    def delayed(self) -> Mapping[int, Pending]:
        """The tasks that may not be started yet, by id."""
        return self._delayed

    @property
    def arrays(self) -> Mapping[int, Pending]:
        """The parents of arrays, by id."""
        return self._arrays

    @property
    def ripe_at(self) -> float | None:
        """The time at which the next delayed task may be started; None if there is none."""
        while self._times and not self._is_current(*self._times[0]):
            heapq.heappop(self._times)
        return self._times[0][0] if self._times else None

    def get(self, task_id: int) -> Pending | None:
        return self._tasks.get(task_id)

    def unknown(self, ids: Iterable[int]) -> list[int]:
        """Return those of `ids` that are not in the book."""
        return [task_id for task_id in ids if task_id not in self._tasks]

    def add(self, tasks: Iterable[Pending]) -> None:
        """
        Add tasks, replacing entries that are there, since any field may have changed. A task that was taken out to be
        placed, and was read before that, is not added: it would be offered and counted until it lost a placement.
        """
        for task in tasks:
            if task.attempt in (self._taken.get(task.id), self._taken_before.get(task.id)):
                continue
            if task.id in self._tasks:
                self.discard([task.id])
            self._tasks[task.id] = task
            if task.array is not None:
                self._arrays[task.id] = task
            elif task.waiting_on:
                self._gated[task.id] = task
            elif task.not_before is not None:
                self._delayed[task.id] = task
                heapq.heappush(self._times, (task.not_before, task.id))
            else:
                self._lanes.put(task)

    def ripen(self, now: float) -> int:
        """Move delayed tasks whose time has come into lanes, and return their number."""
        ripe = 0
        while (at := self.ripe_at) is not None and at <= now:
            _, task_id = heapq.heappop(self._times)
            self._lanes.put(self._delayed.pop(task_id))
            ripe += 1
        return ripe

    def discard(self, ids: Iterable[int]) -> None:
        """Remove the tasks that are there."""
        for task_id in ids:
            task = self._tasks.pop(task_id, None)
            if task is None:
                continue
            for others in (self._gated, self._delayed, self._arrays):
                if others.pop(task_id, None):
                    break
            else:
                self._lanes.take(task)

    def take(self, tasks: Iterable[Pending]) -> None:
        """Remove tasks that are being placed; see `give_back`."""
        for task in tasks:
            self._taken[task.id] = task.attempt
            self.discard([task.id])

    def give_back(self, tasks: Iterable[Pending]) -> None:
        """Allow tasks that were not placed after all to be added again."""
        for task in tasks:
            self._taken.pop(task.id, None)
            self._taken_before.pop(task.id, None)

    def keep_only(self, ids: Collection[int]) -> int:
        """Remove all tasks but `ids`, and return how many were removed."""
        # No read takes as long as the time between two calls of this method.
        self._taken, self._taken_before = {}, self._taken
        gone = [task_id for task_id in self._tasks if task_id not in ids]
        self.discard(gone)
        return len(gone)

    def clear(self) -> None:
        for held in (self._tasks, self._gated, self._delayed, self._arrays, self.limits):
            held.clear()
        self._taken, self._taken_before = {}, {}
        self._lanes.clear()
        self._times.clear()

    def _is_current(self, at: float, task_id: int) -> bool:
        task = self._delayed.get(task_id)
        return task is not None and task.not_before == at
