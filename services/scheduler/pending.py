"""The book of pending tasks: one lane per (user, project, shape), each in order of seniority."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.store.work import Pending


@dataclass(frozen=True, slots=True)
class LaneKey:
    """Whose tasks, and of which shape: in a lane, what is true of the first task is true of those behind it."""

    user: str
    project: str
    shape: str


def lane_of(task: Pending) -> LaneKey:
    return LaneKey(task.user, task.project, task.shape)


class Book:
    """
    Pending tasks in memory. It is a copy: MongoDB has the truth, and a task that is in the book by mistake only
    loses the compare-and-set.
    """

    def __init__(self) -> None:
        self._tasks: dict[int, Pending] = {}
        self._lanes: dict[LaneKey, list[Pending]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, task_id: int) -> bool:
        return task_id in self._tasks

    @property
    def lanes(self) -> Mapping[LaneKey, Sequence[Pending]]:
        """The lanes that hold anything. To be read, not changed."""
        return self._lanes

    @property
    def oldest(self) -> float | None:
        """When the task that waits longest took its place."""
        return min((lane[0].queued_at for lane in self._lanes.values()), default=None)

    def unknown(self, ids: Iterable[int]) -> list[int]:
        """Those of `ids` that are not in the book."""
        return [task_id for task_id in ids if task_id not in self._tasks]

    def add(self, tasks: Iterable[Pending]) -> None:
        """Enter tasks; one that is there already is entered anew, for its attempt may have changed."""
        for task in tasks:
            if task.id in self._tasks:
                self.discard([task.id])
            self._tasks[task.id] = task
            lane = self._lanes.setdefault(lane_of(task), [])
            if lane and lane[-1].seniority > task.seniority:
                bisect.insort(lane, task, key=_seniority)
            else:
                lane.append(task)

    def discard(self, ids: Iterable[int]) -> None:
        """Take tasks out, those that are there."""
        for task_id in ids:
            task = self._tasks.pop(task_id, None)
            if task is not None:
                self._take_from_lane(task)

    def keep_only(self, ids: Collection[int]) -> int:
        """Take out all but `ids` and return how many that were."""
        gone = [task_id for task_id in self._tasks if task_id not in ids]
        self.discard(gone)
        return len(gone)

    def clear(self) -> None:
        self._tasks.clear()
        self._lanes.clear()

    def _take_from_lane(self, task: Pending) -> None:
        key = lane_of(task)
        lane = self._lanes[key]
        del lane[bisect.bisect_left(lane, task.seniority, key=_seniority)]
        if not lane:
            del self._lanes[key]


def _seniority(task: Pending) -> tuple[float, int]:
    return task.seniority
