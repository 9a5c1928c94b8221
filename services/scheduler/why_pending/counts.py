"""Count pending tasks by pending reason, for metrics: pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.scheduler.placement import feasibility
from services.scheduler.placement.node_state import IN_MAINTENANCE, NodeState
from services.scheduler.placement.reservation import Reservation
from services.scheduler.queue.book import Book
from services.scheduler.queue.lanes import LaneKey
from services.scheduler.why_pending.node_verdicts import NodeReasons
from shared.models.pending_reason import PendingReason
from shared.models.work import Pending

MOST = 500  #: shapes that are compared with the nodes for one count; further ones count as NO_ROOM

#: The reasons that tasks are counted by. Metrics export each of them from the start, most as 0.
COUNTED = (
    PendingReason.USER_DISABLED,
    PendingReason.USER_DELETED,
    PendingReason.NOT_IN_PROJECT,
    PendingReason.USER_QUOTA,
    PendingReason.PROJECT_QUOTA,
    PendingReason.DEPENDENCY,
    PendingReason.DELAYED,
    PendingReason.ARRAY_SUSPENDED,
    PendingReason.ARRAY_LIMIT,
    PendingReason.CHILDREN,
    PendingReason.MAINTENANCE,
    PendingReason.NO_NODES,
    PendingReason.NEVER,
    PendingReason.NOT_READY,
    PendingReason.RESERVED,
    PendingReason.FRAGMENTED,
    PendingReason.NO_ROOM,
    PendingReason.TURN,
)


@dataclass(frozen=True, slots=True)
class Count:
    """The number of tasks with one reason, and when the oldest of them was queued (seconds since the epoch)."""

    tasks: int = 0
    since: float | None = None

    def __add__(self, other: Count) -> Count:
        times = [since for since in (self.since, other.since) if since is not None]
        return Count(self.tasks + other.tasks, min(times, default=None))


def nothing_holds(task: Pending) -> PendingReason | None:
    return None


def count(
    book: Book,
    nodes: Sequence[NodeState],
    *,
    unplaced: Collection[str],
    placed: Mapping[int, int],
    hold: Callable[[Pending], PendingReason | None] = nothing_holds,
    reservation: Reservation | None = None,
) -> dict[PendingReason, Count]:
    """
    Count the tasks in `book` by each of `COUNTED`. `unplaced` are the shapes that found no room, `placed` the numbers
    of placed children of limited arrays; `hold` returns the reason by which a task's owner or a quota holds it.
    """
    counts = dict.fromkeys(COUNTED, Count())
    for reason, tasks in _entries(book, nodes, unplaced, placed, hold, reservation):
        counts[reason] += tasks
    return counts


def _entries(
    book: Book,
    nodes: Sequence[NodeState],
    unplaced: Collection[str],
    placed: Mapping[int, int],
    hold: Callable[[Pending], PendingReason | None],
    reservation: Reservation | None,
) -> Iterator[tuple[PendingReason, Count]]:
    shapes = _ShapeReasons(nodes, reservation)
    for key, lane in book.lanes.items():
        reason = hold(lane[0]) or _array_limit(key, book.limits, placed)
        if reason is None:
            reason = shapes.reason(key.shape, lane[0]) if key.shape in unplaced else PendingReason.TURN
        yield reason, Count(len(lane), lane[0].queued_at)
    yield PendingReason.DEPENDENCY, _count_of(book.gated.values())
    yield PendingReason.DELAYED, _count_of(book.delayed.values())
    yield PendingReason.CHILDREN, _count_of(book.arrays.values())


def _array_limit(key: LaneKey, limits: Mapping[int, int], placed: Mapping[int, int]) -> PendingReason | None:
    if key.array is None or key.array not in limits or placed.get(key.array, 0) < limits[key.array]:
        return None
    # Only a suspended array has a limit of 0.
    return PendingReason.ARRAY_LIMIT if limits[key.array] else PendingReason.ARRAY_SUSPENDED


def _count_of(tasks: Collection[Pending]) -> Count:
    return Count(len(tasks), min((task.queued_at for task in tasks), default=None))


class _ShapeReasons:
    """The pending reason of each shape, computed once per shape."""

    def __init__(self, nodes: Sequence[NodeState], reservation: Reservation | None) -> None:
        self._nodes = NodeReasons(nodes, reservation)
        self._in_maintenance = [node for node in nodes if node.reason == IN_MAINTENANCE]
        self._none_ready = _none_ready(nodes)
        self._reasons: dict[str, PendingReason] = {}

    def reason(self, shape: str, task: Pending) -> PendingReason:
        if shape not in self._reasons and len(self._reasons) < MOST:
            self._reasons[shape] = self._compute(task)
        reason = self._reasons.get(shape, PendingReason.NO_ROOM)
        return self._none_ready if self._none_ready and reason is not PendingReason.NEVER else reason

    def _compute(self, task: Pending) -> PendingReason:
        reason = self._nodes.reason(task)
        if reason is PendingReason.NOT_READY and any(
            feasibility.could_ever_fit(task, node) for node in self._in_maintenance
        ):
            return PendingReason.MAINTENANCE
        return reason


def _none_ready(nodes: Iterable[NodeState]) -> PendingReason | None:
    nodes = list(nodes)
    if not nodes:
        return PendingReason.NO_NODES
    if any(node.ready for node in nodes):
        return None
    in_maintenance = any(node.reason == IN_MAINTENANCE for node in nodes)
    return PendingReason.MAINTENANCE if in_maintenance else PendingReason.NOT_READY
