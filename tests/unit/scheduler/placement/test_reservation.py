"""Reservations for the head of the queue: the node, its start, the tasks that may use it, and the end of starvation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.scheduler.cluster import Cluster
from services.scheduler.placement import backfill, planning
from services.scheduler.placement.backfill import Rules
from services.scheduler.placement.node_state import Allocation, NodeState
from services.scheduler.placement.planning import Placement, Terms
from services.scheduler.placement.ranking import RANKINGS
from services.scheduler.placement.reservation import Reservation
from services.scheduler.policies.fifo import FifoPass
from services.scheduler.queue.book import Book
from shared.models.work import Pending
from shared.units.sizes import GB
from tests.support import samples

NOW = samples.NOW
LARGE = samples.pending(1, cpus=4.0, memory=4 * GB, queued_at=NOW - 100)


def holding(name: str, *held: tuple[float, float | None], cpus: float = 4.0, **fields: Any) -> NodeState:
    """Return a node whose tasks hold the given cores until the given seconds from now."""
    node = samples.node(name, cpus, **fields)
    for cores, seconds in held:
        node.charge(Allocation(name, cores, GB, until=None if seconds is None else NOW + seconds))
    return node


def reserved(*nodes: NodeState, task: Pending = LARGE, **rules: Any) -> tuple[str, float | None] | None:
    """Return the node that is reserved for `task`, and the seconds until its expected start."""
    found = backfill.reserve(task, nodes, Rules(**{"now": NOW, **rules}))
    if found is None:
        return None
    return found.node, None if found.start is None else found.start - NOW


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([holding("n1", (1, 30), (1, 10), (2, 20))], ("n1", 30)),
        # Not all have to end before it can start.
        ([holding("n1", (4, 10), (4, 99), cpus=8.0)], ("n1", 10)),
        ([holding("n1", (4, 30)), holding("n2", (4, 20)), holding("n3", (4, None))], ("n2", 20)),
        # Whoever has run for longer than it may ends any moment.
        ([holding("n1", (4, -5))], ("n1", 0)),
        # The end of what is in the way is not known.
        ([holding("n1", (1, 10), (3, None))], ("n1", None)),
        # Where least is still to become free.
        ([holding("n1", (3, None)), holding("n2", (1, None)), holding("n3", (2, None))], ("n2", None)),
        # It could never run, or not now.
        ([holding("n1", (2, 10), cpus=2.0)], None),
        ([holding("n1", (4, 10), ready=False)], None),
        ([holding("n1", (4, 10), ready=False), holding("n2", (4, 99))], ("n2", 99)),
        ([], None),
    ],
)
def test_the_node_with_the_earliest_start_is_reserved(
    nodes: list[NodeState], expected: tuple[str, float | None] | None
) -> None:
    assert reserved(*nodes) == expected


def test_without_known_ends_a_node_is_reserved_only_after_a_wait() -> None:
    assert reserved(holding("n1", (4, None)), reserve_after=101) is None
    assert reserved(holding("n1", (4, None)), reserve_after=100) == ("n1", None)
    assert reserved(holding("n1", (4, 10)), reserve_after=101) == ("n1", 10)


def test_a_reservation_stays_unless_another_node_is_free_sooner() -> None:
    def last(node: str, task_id: int = LARGE.id) -> Reservation:
        found = backfill.reserve(LARGE, [holding(node, (4, None))], Rules(NOW))
        assert found is not None
        return replace(found, task_id=task_id)

    unknown = (holding("n1", (1, None)), holding("n2", (2, None)))
    assert reserved(*unknown, last=last("n2")) == ("n2", None)
    assert reserved(*unknown, last=last("n2", task_id=99)) == ("n1", None)
    assert reserved(*unknown, last=last("gone")) == ("n1", None)
    alike = (holding("n1", (4, 10)), holding("n2", (4, 10)))
    assert reserved(*alike, last=last("n2")) == ("n2", 10)
    assert reserved(holding("n1", (4, 9)), holding("n2", (4, 10)), last=last("n2")) == ("n1", 9)


def test_maxlifespan_applies_to_tasks_without_a_lifespan() -> None:
    cluster = Cluster(maxlifespan=60.0)
    cluster.observe([samples.report(cpus=4.0)])
    cluster.begin_audit()
    placed = [samples.placed(7, cpus=2.0), samples.placed(8, cpus=2.0, lifespan=30.0), samples.placed(9, cpus=0)]
    cluster.end_audit(placed)
    assert sorted(held.until or 0 for held in cluster.snapshot()[0].held) == [NOW + 30, NOW + 60, NOW + 60]
    assert reserved(*cluster.snapshot()) == (samples.NODE, 60)


# --- who may use it ---------------------------------------------------------------------------


def plan(waiting: Sequence[Pending], nodes: Sequence[NodeState], **rules: Any) -> planning.Plan:
    book = Book()
    book.add(waiting)
    terms = Terms(rules=Rules(**{"now": NOW, **rules}))
    return planning.plan(FifoPass(book.lanes), nodes, limit=100, terms=terms)


def small(number: int, **fields: Any) -> Pending:
    return samples.pending(number, **{"queued_at": NOW + number, **fields})


def test_a_task_that_ends_before_the_reserved_start_may_use_the_node() -> None:
    waiting = [LARGE, small(2, lifespan=31.0), small(3), small(4, lifespan=30.0)]
    result = plan(waiting, [holding("n1", (3, 30))])
    assert result.reservation is not None
    assert (result.reservation.task_id, result.reservation.start) == (1, NOW + 30)
    assert [placed.task.id for placed in result.placements] == [4]
    assert result.unplaced.keys() == {LARGE.shape, waiting[1].shape}


def test_tasks_that_fit_beside_the_head_may_use_its_node_until_it_is_full() -> None:
    waiting = [LARGE, *(small(number) for number in range(2, 6))]
    result = plan(waiting, [holding("n1", (4, 30), cpus=6.0)])
    assert [placed.task.id for placed in result.placements] == [2, 3]


def test_resources_that_the_head_does_not_need_are_free_for_all() -> None:
    head = replace(LARGE, cpus=1.0, gpus=2, shape="gpus")
    node = samples.node("n1", 8.0, gpus=("0", "1"))
    node.charge(Allocation("n1", 1.0, GB, gpus=("0",)))
    result = plan([head, small(2, gpus=1), small(3)], [node])
    assert result.reservation is not None
    assert result.reservation.start is None
    assert [placed.task.id for placed in result.placements] == [3]


def test_a_reservation_delays_no_task_on_other_nodes() -> None:
    result = plan([LARGE, small(2)], [holding("n1", (3, 30)), holding("n2", (3, 99))])
    assert [(placed.task.id, placed.node) for placed in result.placements] == [(2, "n2")]


def test_a_reservation_delays_no_task_before_its_own() -> None:
    result = plan([small(2, queued_at=NOW - 200), LARGE], [holding("n1", (3, 30))])
    assert [placed.task.id for placed in result.placements] == [2]


def test_a_task_that_can_never_run_reserves_no_node() -> None:
    never = replace(LARGE, cpus=64.0, shape="never")
    result = plan([never, small(2)], [holding("n1", (3, 30))])
    assert (result.reservation, len(result.placements)) == (None, 1)
    second = plan([never, replace(LARGE, id=5), small(6)], [holding("n1", (3, 30))])
    assert second.reservation is not None
    assert (second.reservation.task_id, second.placements) == (5, [])


def test_there_is_one_reservation_in_a_pass() -> None:
    other = replace(LARGE, id=2, cpus=3.0, shape="other")
    result = plan([LARGE, other, small(3)], [holding("n1", (4, 30)), holding("n2", (3, 10))])
    assert result.reservation is not None
    assert (result.reservation.task_id, result.reservation.node) == (1, "n2")
    assert result.placements == []


# --- a stream of small tasks ----------------------------------------------------------------------


class Stream:
    """
    Nodes of four cores with an endless stream of small tasks: when one ends, the next is pending. Passes are ten
    seconds apart.
    """

    def __init__(self, *, ranking: str, rules: Rules, lifespan: float | None, nodes: int = 3) -> None:
        self.now = NOW
        self.small_on: dict[str, int] = {}
        self._ranking = RANKINGS[ranking]
        self._rules = rules
        self._lifespan = lifespan
        self._cluster = Cluster()
        self._cluster.observe(samples.report(f"n{number}", cpus=4.0) for number in range(nodes))
        self._numbers = itertools.count(100)
        self._ends: dict[int, float] = {}
        # Never do all that run on a node end together.
        staggered = (seconds for seconds in (10.0, 20.0, 30.0, 40.0) for _ in range(3))
        self._lasts: Iterator[float] = itertools.chain(staggered, itertools.repeat(40.0))
        self._book = Book()
        self._endless: set[int] = set()
        self._last: Reservation | None = None

    def wait(self, task: Pending) -> None:
        self._book.add([task])

    def last_for_ever(self, task_id: int) -> None:
        self._endless.add(task_id)

    def step(self) -> list[Placement]:
        """Run one pass and return its placements."""
        self.now += 10
        ended = [number for number, at in self._ends.items() if at <= self.now]
        self._cluster.release([(number, 1) for number in ended])
        for number in ended:
            del self._ends[number]
        for _ in range(20 - len(self._book)):
            fields = {"queued_at": self.now, "lifespan": self._lifespan, "memory": 1024}
            self._book.add([samples.pending(next(self._numbers), **fields)])
        rules = replace(self._rules, now=self.now, last=self._last)
        terms = Terms(ranking=self._ranking, rules=rules)
        result = planning.plan(FifoPass(self._book.lanes), self._cluster.snapshot(), limit=100, terms=terms)
        self._last = result.reservation
        for placed in result.placements:
            self._cluster.allocate(placed.task.id, 1, placed.given)
            lasts = float("inf") if placed.task.id in self._endless else next(self._lasts)
            self._ends[placed.task.id] = self.now + lasts
        self._book.discard(placed.task.id for placed in result.placements)
        return result.placements

    def steps_until_started(self, task_id: int, *, most: int) -> int | None:
        for step in range(most):
            if any(placed.task.id == task_id for placed in self.step()):
                return step
        return None


@pytest.mark.parametrize("ranking", list(RANKINGS))
@pytest.mark.parametrize("lifespan", [None, 60.0])
def test_a_large_task_is_not_starved_by_a_stream_of_small_ones(ranking: str, lifespan: float | None) -> None:
    stream = Stream(ranking=ranking, rules=Rules(), lifespan=lifespan)
    for _ in range(10):
        stream.step()
    stream.wait(samples.pending(1, cpus=4.0, memory=1024, queued_at=stream.now))
    steps = stream.steps_until_started(1, most=100)
    assert steps is not None
    # By then the small ones before it have been placed, and all that ran has ended; without known ends it first waits for
    # `reserve_after`.
    assert steps <= (10 if lifespan else 16)


def test_endless_tasks_on_the_reserved_node_do_not_delay_the_head_for_ever() -> None:
    stream = Stream(ranking="binpack", rules=Rules(reserve_after=0.0), lifespan=None)
    stream.wait(samples.pending(2, cpus=1.0, memory=1024, queued_at=NOW))
    stream.last_for_ever(2)
    for _ in range(10):
        stream.step()
    stream.wait(samples.pending(1, cpus=4.0, memory=1024, queued_at=stream.now))
    assert stream.steps_until_started(1, most=200) is not None


def test_the_reserved_node_is_changed_less_and_less_often() -> None:
    old = samples.node("n1", 4.0)
    old.charge(Allocation("n1", 1.0, GB, since=NOW - 500))
    young = samples.node("n2", 4.0)
    young.charge(Allocation("n2", 4.0, GB, since=NOW - 10))
    first = backfill.reserve(LARGE, [old], Rules(NOW))
    assert first is not None
    assert (first.node, first.since, first.patience) == ("n1", NOW, 60.0)
    still = backfill.reserve(LARGE, [old, young], Rules(NOW + 59, last=first))
    assert still is not None
    assert (still.node, still.since) == ("n1", NOW)
    other = backfill.reserve(LARGE, [old, young], Rules(NOW + 60, last=still))
    assert other is not None
    assert (other.node, other.since, other.patience) == ("n2", NOW + 60, 120.0)


@pytest.mark.parametrize("ranking", list(RANKINGS))
def test_without_a_reservation_a_large_task_starves(ranking: str) -> None:
    stream = Stream(ranking=ranking, rules=Rules(reserve_after=1e9), lifespan=None)
    for _ in range(10):
        stream.step()
    stream.wait(samples.pending(1, cpus=4.0, memory=1024, queued_at=stream.now))
    assert stream.steps_until_started(1, most=100) is None


def test_a_series_of_large_tasks_gets_through_a_stream_of_small_ones() -> None:
    stream = Stream(ranking="binpack", rules=Rules(reserve_after=0.0), lifespan=None)
    for _ in range(10):
        stream.step()
    for number in range(1, 6):
        stream.wait(samples.pending(number, cpus=4.0, memory=1024, queued_at=stream.now))
    started: list[int] = []
    for _ in range(60):
        started += [placed.task.id for placed in stream.step() if placed.task.id < 100]
    assert started == [1, 2, 3, 4, 5]
