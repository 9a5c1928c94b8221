"""Sort what is pending by why it waits, in a closed set of reasons: pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.scheduler.cluster import IN_MAINTENANCE
from services.scheduler.placement import feasibility
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.planning import nobody_is_held
from services.scheduler.placement.reservation import Reservation
from services.scheduler.queue.book import Book
from services.scheduler.queue.lanes import LaneKey
from services.scheduler.why_pending.node_verdicts import Explainer, Outcome
from shared.models.work import Pending

MOST = 500  #: shapes that are judged in one look; further ones count as those that find no room


class Wait(StrEnum):
    """Why a task waits, as operators tell it apart."""

    TURN = "turn"  #: it was not offered to the nodes yet
    NO_ROOM = "no_room"  #: nodes that could take it are full
    FRAGMENTED = "fragmented"  #: they have room enough together, and none of them alone
    RESERVED = "reserved"  #: the node with room is kept for another task
    NEVER = "never"  #: no node could take it, empty and well
    NOT_READY = "not_ready"  #: no node that could take it is ready, or there is none
    MAINTENANCE = "maintenance"  #: the same, and some of them are in maintenance
    OWNER = "owner"  #: its user is disabled, or left its project
    QUOTA = "quota"  #: of its user or project
    ARRAY = "array"  #: as many children of its array are placed as may be
    DEPENDENCY = "dependency"  #: on tasks that are not over
    DELAY = "delay"  #: between two attempts
    CHILDREN = "children"  #: an array, whose children are another matter


_OF_NODES = {
    Outcome.FITS: Wait.TURN,
    Outcome.WAITING: Wait.NO_ROOM,
    Outcome.FRAGMENTED: Wait.FRAGMENTED,
    Outcome.RESERVED: Wait.RESERVED,
    Outcome.NEVER: Wait.NEVER,
    Outcome.NOT_READY: Wait.NOT_READY,
    Outcome.NO_NODES: Wait.NOT_READY,
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many wait for one reason, and since when the first of them does (seconds since the epoch)."""

    count: int = 0
    since: float | None = None

    def __add__(self, other: Waiting) -> Waiting:
        times = [since for since in (self.since, other.since) if since is not None]
        return Waiting(self.count + other.count, min(times, default=None))


def sort(
    book: Book,
    nodes: Sequence[NodeState],
    *,
    refused: Collection[str],
    placed: Mapping[int, int],
    is_held: Callable[[Pending], bool],
    is_shut_out: Callable[[Pending], bool] = nobody_is_held,
    reservation: Reservation | None = None,
) -> dict[Wait, Waiting]:
    """
    What stands in `book`, every reason named. `refused` are the shapes that found no room, `placed` says how many children of
    limited arrays hold resources, `is_held` whether a quota has no room for as much as this task needs, `is_shut_out` whether
    nothing of its owner is started.
    """
    found = dict.fromkeys(Wait, Waiting())
    for wait, waiting in _entries(book, nodes, refused, placed, is_held, is_shut_out, reservation):
        found[wait] += waiting
    return found


def _entries(
    book: Book,
    nodes: Sequence[NodeState],
    refused: Collection[str],
    placed: Mapping[int, int],
    is_held: Callable[[Pending], bool],
    is_shut_out: Callable[[Pending], bool],
    reservation: Reservation | None,
) -> Iterator[tuple[Wait, Waiting]]:
    judged = _Judged(nodes, reservation)
    for key, lane in book.lanes.items():
        if is_shut_out(lane[0]):
            wait = Wait.OWNER
        elif is_held(lane[0]):
            wait = Wait.QUOTA
        elif _is_full(key, book.limits, placed):
            wait = Wait.ARRAY
        else:
            wait = judged.wait(key.shape, lane[0]) if key.shape in refused else Wait.TURN
        yield wait, Waiting(len(lane), lane[0].queued_at)
    yield Wait.DEPENDENCY, _of(book.gated.values())
    yield Wait.DELAY, _of(book.delayed.values())
    yield Wait.CHILDREN, _of(book.arrays.values())


def _is_full(key: LaneKey, limits: Mapping[int, int], placed: Mapping[int, int]) -> bool:
    return key.array is not None and key.array in limits and placed.get(key.array, 0) >= limits[key.array]


def _of(tasks: Collection[Pending]) -> Waiting:
    return Waiting(len(tasks), min((task.queued_at for task in tasks), default=None))


class _Judged:
    """What the nodes say of shapes, each asked once."""

    def __init__(self, nodes: Sequence[NodeState], reservation: Reservation | None) -> None:
        self._explainer = Explainer(nodes, reservation)
        self._maintained = [node for node in nodes if node.reason == IN_MAINTENANCE]
        self._none_ready = _none_ready(nodes)
        self._found: dict[str, Wait] = {}

    def wait(self, shape: str, task: Pending) -> Wait:
        if shape not in self._found and len(self._found) < MOST:
            self._found[shape] = self._judge(task)
        wait = self._found.get(shape, Wait.NO_ROOM)
        return self._none_ready if self._none_ready and wait is not Wait.NEVER else wait

    def _judge(self, task: Pending) -> Wait:
        wait = _OF_NODES[self._explainer.outcome(task)]
        if wait is Wait.NOT_READY and any(feasibility.could_ever_fit(task, node) for node in self._maintained):
            return Wait.MAINTENANCE
        return wait


def _none_ready(nodes: Iterable[NodeState]) -> Wait | None:
    nodes = list(nodes)
    if any(node.ready for node in nodes):
        return None
    return Wait.MAINTENANCE if any(node.reason == IN_MAINTENANCE for node in nodes) else Wait.NOT_READY
