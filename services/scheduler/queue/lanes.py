"""Lanes of pending tasks that may be placed, and the queues that hold the lanes of one owner."""

from __future__ import annotations

import bisect
from collections.abc import ItemsView, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass

from shared.models.work import Pending

#: Project, user and ticket share: among lanes that agree in these, the one with the oldest first task goes first.
QueueKey = tuple[str, str, float | None]


@dataclass(frozen=True, slots=True)
class LaneKey:
    """
    The properties that all tasks of a lane share, so that a decision about its first task holds for the tasks behind
    it.
    """

    user: str
    project: str
    shape: str
    array: int | None = None
    lifespan: float | None = None
    ticket_share: float | None = None


def lane_of(task: Pending) -> LaneKey:
    return LaneKey(task.user, task.project, task.shape, task.parent, task.lifespan, task.ticket_share)


class Queue:
    """
    Lanes in order of the seniority of their first tasks. Shapes and lifespans have lists of their own: a pass skips
    very many lanes by them, and reading them from each first task would take several times as long.
    """

    __slots__ = ("lanes", "lifespans", "shapes")

    def __init__(self) -> None:
        self.lanes: list[list[Pending]] = []
        self.shapes: list[str] = []
        self.lifespans: list[float | None] = []

    def put(self, lane: list[Pending]) -> None:
        place = len(self.lanes)
        if place and _first(self.lanes[-1]) > _first(lane):
            place = self._place(lane)
        self.lanes.insert(place, lane)
        self.shapes.insert(place, lane[0].shape)
        self.lifespans.insert(place, lane[0].lifespan)

    def take(self, lane: list[Pending]) -> None:
        """Remove `lane`, which must be there."""
        place = self._place(lane)
        del self.lanes[place], self.shapes[place], self.lifespans[place]

    def _place(self, lane: list[Pending]) -> int:
        return bisect.bisect_left(self.lanes, _first(lane), key=_first)


class Lanes(Mapping[LaneKey, Sequence[Pending]]):
    """
    The lanes that are not empty, each in order of seniority. `queues` holds them in order among each other: a pass
    begins with the queues, a few for each user, and not with the lanes, of which there may be as many as tasks.
    """

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, list[Pending]] = {}
        self._queues: dict[QueueKey, Queue] = {}

    def __getitem__(self, key: LaneKey) -> Sequence[Pending]:
        return self._lanes[key]

    def __iter__(self) -> Iterator[LaneKey]:
        return iter(self._lanes)

    def __len__(self) -> int:
        return len(self._lanes)

    def values(self) -> ValuesView[Sequence[Pending]]:
        return self._lanes.values()

    def items(self) -> ItemsView[LaneKey, Sequence[Pending]]:
        return self._lanes.items()

    @property
    def queues(self) -> Mapping[QueueKey, Queue]:
        """The lanes of each owner, in order. Read only."""
        return self._queues

    def put(self, task: Pending) -> None:
        key = lane_of(task)
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = lane = [task]
            self._enqueue(lane)
        elif lane[-1].seniority < task.seniority:
            lane.append(task)
        elif lane[0].seniority < task.seniority:
            bisect.insort(lane, task, key=_seniority)
        else:
            self._dequeue(lane)
            lane.insert(0, task)
            self._enqueue(lane)

    def take(self, task: Pending) -> None:
        """Remove `task`, which must be there."""
        key = lane_of(task)
        lane = self._lanes[key]
        position = bisect.bisect_left(lane, task.seniority, key=_seniority)
        if position:
            del lane[position]
            return
        self._dequeue(lane)
        del lane[0]
        if lane:
            self._enqueue(lane)
        else:
            del self._lanes[key]

    def clear(self) -> None:
        self._lanes.clear()
        self._queues.clear()

    def _enqueue(self, lane: list[Pending]) -> None:
        key = _queue_of(lane[0])
        if key not in self._queues:
            self._queues[key] = Queue()
        self._queues[key].put(lane)

    def _dequeue(self, lane: list[Pending]) -> None:
        key = _queue_of(lane[0])
        self._queues[key].take(lane)
        if not self._queues[key].lanes:
            del self._queues[key]


def _queue_of(task: Pending) -> QueueKey:
    return task.project, task.user, task.ticket_share


def _seniority(task: Pending) -> tuple[float, int]:
    return task.seniority


def _first(lane: Sequence[Pending]) -> tuple[float, int]:
    return lane[0].seniority
