"""The pure parts of a scheduling cycle: the book, the policy, feasibility, ranking, the plan, the cluster."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.scheduler.cluster import Cluster
from services.scheduler.placement import feasibility, planning
from services.scheduler.placement.node_state import Allocation, NodeState
from services.scheduler.placement.ranking import BestFit
from services.scheduler.placement.reservation import EPSILON
from services.scheduler.policies.fifo import FifoPass
from services.scheduler.queue.book import Book
from services.scheduler.queue.lanes import lane_of
from services.scheduler.why_pending.node_verdicts import NodeReasons
from services.scheduler.why_pending.refresh import AGE, MOST, ShapeReasons
from shared.executors.types import NodeReport
from shared.models.task import Array
from shared.models.work import Pending
from shared.units.sizes import GB
from tests.support import samples

# --- the book -----------------------------------------------------------------------------

tasks = st.builds(
    samples.pending,
    st.integers(1, 12),
    attempt=st.integers(0, 2),
    user=st.sampled_from(["alice", "bob"]),
    project=st.sampled_from(["default", "other"]),
    cpus=st.sampled_from([0.5, 1.0, 4.0]),
    memory=st.sampled_from([GB, 8 * GB]),
    queued_at=st.sampled_from([1.0, 2.0, 3.0]),
    ticket_share=st.sampled_from([None, None, 0.5]),
    lifespan=st.sampled_from([None, None, 60.0]),
)
#: Tasks of all kinds: beside those that may be offered, those that wait for others, for a time, and parents of arrays.
booked = st.builds(
    dataclasses.replace,
    tasks,
    waiting_on=st.sampled_from([(), (), (99,)]),
    not_before=st.sampled_from([None, None, 10.0, 20.0]),
    array=st.sampled_from([None, None, None, Array(start=1, end=2, step=1, count=2, first_id=7)]),
    parent=st.sampled_from([None, 70]),
)


class BookMachine(RuleBasedStateMachine):
    """The book, compared with a plain dict whose lanes are sorted from scratch each time."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()
        self.model: dict[int, Pending] = {}
        self.ripe: set[int] = set()

    @rule(entered=st.lists(booked, max_size=6))
    def add(self, entered: list[Pending]) -> None:
        self.book.add(entered)
        self.model.update({task.id: task for task in entered})
        self.ripe.difference_update(task.id for task in entered)

    @rule(now=st.sampled_from([9.0, 10.0, 30.0]))
    def ripen(self, now: float) -> None:
        ripe = {
            task.id for task in self.book.delayed.values() if task.not_before is not None and task.not_before <= now
        }
        assert self.book.ripen(now) == len(ripe)
        self.ripe |= ripe

    @rule(ids=st.lists(st.integers(0, 13), max_size=6))
    def discard(self, ids: list[int]) -> None:
        self.book.discard(ids)
        self.model = {task_id: task for task_id, task in self.model.items() if task_id not in ids}

    @rule(ids=st.sets(st.integers(0, 13)))
    def keep_only(self, ids: set[int]) -> None:
        assert self.book.keep_only(ids) == len(self.model.keys() - ids)
        self.model = {task_id: task for task_id, task in self.model.items() if task_id in ids}

    @rule()
    def clear(self) -> None:
        self.book.clear()
        self.model.clear()

    @rule(ids=st.lists(st.integers(0, 13)))
    def unknown(self, ids: list[int]) -> None:
        assert self.book.unknown(ids) == [task_id for task_id in ids if task_id not in self.model]

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        arrays = {task.id for task in self.model.values() if task.array}
        gated = {task.id for task in self.model.values() if task.waiting_on} - arrays
        delayed = {task.id for task in self.model.values() if task.not_before} - arrays - gated - self.ripe
        offered = [task for task in self.model.values() if task.id not in arrays | gated | delayed]
        lanes: dict[object, list[Pending]] = {}
        for task in sorted(offered, key=lambda task: (task.queued_at, task.id)):
            lanes.setdefault(lane_of(task), []).append(task)
        assert dict(self.book.lanes) == lanes
        queues: dict[object, list[list[Pending]]] = {}
        for lane in sorted(lanes.values(), key=lambda lane: lane[0].seniority):
            queues.setdefault((lane[0].project, lane[0].user, lane[0].ticket_share), []).append(lane)
        assert {key: queue.lanes for key, queue in self.book.lanes.queues.items()} == queues
        for queue in self.book.lanes.queues.values():
            assert queue.shapes == [lane[0].shape for lane in queue.lanes]
            assert queue.lifespans == [lane[0].lifespan for lane in queue.lanes]
        assert (set(self.book.arrays), set(self.book.gated), set(self.book.delayed)) == (arrays, gated, delayed)
        times = (self.model[task_id].not_before for task_id in delayed)
        assert self.book.ripe_at == min((at for at in times if at is not None), default=None)
        assert len(self.book) == len(self.model)
        assert all(self.book.get(task_id) == self.model.get(task_id) for task_id in range(14))
        assert all((task_id in self.book) == (task_id in self.model) for task_id in range(14))


TestBook = BookMachine.TestCase
TestBook.settings = hypothesis_settings(max_examples=hypothesis_settings.default.max_examples * 2 // 5)


def test_a_task_that_was_read_before_it_was_placed_is_not_added() -> None:
    book, read = Book(), samples.pending(1)
    book.add([read])
    book.take([read])
    book.add([read])
    assert 1 not in book
    book.keep_only([])  # what is on its way now is not read before the next
    book.add([read])
    assert 1 not in book
    book.add([dataclasses.replace(read, attempt=1)])  # it is to run again
    assert 1 in book


def test_a_task_that_was_not_placed_after_all_is_added_again() -> None:
    book, read = Book(), samples.pending(1)
    for rounds in range(2):
        book.take([read])
        for _ in range(rounds):
            book.keep_only([])
        book.give_back([read])
        book.add([read])
        assert 1 in book


# --- first in, first out -------------------------------------------------------------------


def lanes_of(waiting: Sequence[Pending]) -> Book:
    book = Book()
    book.add(waiting)
    return book


def order(waiting: Sequence[Pending], *, no_room_for: frozenset[str] = frozenset()) -> list[int]:
    """Return the ids in the order in which they are offered, if the shapes `no_room_for` find no room."""
    policy, offered = FifoPass(lanes_of(waiting).lanes), []
    while (task := policy.pop()) is not None:
        offered.append(task.id)
        if task.shape in no_room_for:
            policy.skip(task)
        else:
            policy.charge(task)
    return offered


def test_the_oldest_task_goes_first_whoever_owns_it() -> None:
    waiting = [
        samples.pending(3, user="bob", queued_at=1.0),
        samples.pending(1, user="alice", queued_at=2.0),
        samples.pending(2, user="bob", queued_at=3.0, cpus=4.0),
        samples.pending(4, user="carol", queued_at=2.5),
    ]
    # The last one in is not the first one out, the lowest number not before the longest wait.
    assert order(waiting) == [3, 1, 4, 2]


def test_among_tasks_queued_together_the_lower_number_goes_first() -> None:
    waiting = [samples.pending(number, user=user, queued_at=1.0) for number, user in ((3, "a"), (1, "b"), (2, "a"))]
    assert order(waiting) == [1, 2, 3]


def test_a_task_whose_start_was_undone_keeps_its_place() -> None:
    book = lanes_of([samples.pending(number) for number in (2, 3)])
    book.add([samples.pending(1, attempt=1, queued_at=1.0)])
    assert FifoPass(book.lanes).pop() == samples.pending(1, attempt=1, queued_at=1.0)


def test_a_shape_that_found_no_room_is_not_offered_again() -> None:
    large = [samples.pending(number, user=f"user{number}", cpus=64.0) for number in range(1, 4)]
    small = [samples.pending(number) for number in range(4, 7)]
    assert order([*large, *small], no_room_for=frozenset({large[0].shape})) == [1, 4, 5, 6]


@given(st.lists(tasks, unique_by=lambda task: task.id), st.sets(st.sampled_from([0.5, 1.0, 4.0])))
def test_each_task_is_offered_once_by_seniority_except_shapes_without_room(
    waiting: list[Pending], full: set[float]
) -> None:
    no_room = frozenset(task.shape for task in waiting if task.cpus in full)
    expected, refused = [], set()
    for task in sorted(waiting, key=lambda task: (task.queued_at, task.id)):
        if task.shape not in refused:
            expected.append(task.id)
            if task.shape in no_room:
                refused.add(task.shape)
    assert order(waiting, no_room_for=no_room) == expected


# --- feasibility ------------------------------------------------------------------------------

NEEDS = "needs 8 cpu and 4 GB"


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([], f"{NEEDS}, and there are no nodes"),
        ([samples.node("n1", 8, 16, free_cpus=3)], f"{NEEDS}: n1 has 3 of 8 cpu free"),
        ([samples.node("n1", 8, 16, free_memory=2 * GB)], f"{NEEDS}: n1 has 2 of 16 GB free"),
        (
            [samples.node("n1", 8, 16, free_cpus=0.5, free_memory=GB // 2)],
            f"{NEEDS}: n1 has 0.5 of 8 cpu and 0.5 of 16 GB free",
        ),
        ([samples.node("n1", ready=False, reason="refused")], f"{NEEDS}: n1 is not ready (refused)"),
        ([samples.node("n1", ready=False)], f"{NEEDS}: n1 is not ready (it does not answer)"),
        (
            [samples.node("n1", 4, 64), samples.node("n2", 6, 2)],
            f"can never run here: {NEEDS}, but the most that a node has is 6 cpu (n2) and 64 GB (n1)",
        ),
        # A node that could never take it is not part of the reason.
        ([samples.node("n1", 4), samples.node("n2", 8, free_cpus=1)], f"{NEEDS}: n2 has 1 of 8 cpu free"),
        (
            [samples.node(f"n{number}", free_cpus=number / 2) for number in range(6)],
            f"{NEEDS}: n5 has 2.5 of 8 cpu free; n4 has 2 of 8 cpu free; n3 has 1.5 of 8 cpu free; and so on for 3 more",
        ),
    ],
)
def test_a_reason_has_the_numbers(nodes: list[NodeState], reason: str) -> None:
    assert NodeReasons(nodes).sentence(samples.pending(cpus=8.0, memory=4 * GB)) == reason


def test_ten_tenths_of_a_core_fit_on_one() -> None:
    node = samples.node(cpus=1.0)
    for _ in range(10):
        assert feasibility.fits(samples.pending(cpus=0.1), node)
        node.free_cpus -= 0.1
    assert not feasibility.fits(samples.pending(cpus=0.1), node)


# --- ranking -----------------------------------------------------------------------------------

nodes = st.lists(
    st.builds(
        samples.node,
        name=st.sampled_from([f"n{number}" for number in range(8)]),
        cpus=st.just(16.0),
        gb=st.just(64.0),
        free_cpus=st.integers(0, 16).map(float) | st.floats(0, 16),
        free_memory=st.integers(0, 64).map(lambda gb: gb * GB),
        ready=st.sampled_from([True, True, True, False]),
    ),
    unique_by=lambda node: node.name,
    max_size=8,
)
needs = st.builds(
    samples.pending,
    st.just(1),
    cpus=st.integers(1, 16).map(float) | st.floats(0.01, 16),
    memory=st.integers(1, 64).map(lambda gb: gb * GB),
)


def naive_best(task: Pending, nodes: Sequence[NodeState]) -> NodeState | None:
    """Find by a scan the node left with the fewest cores, then the least memory."""
    able = [node for node in nodes if feasibility.fits(task, node)]
    return min(able, key=lambda node: (node.free_cpus, node.free_memory, node.name), default=None)


@given(nodes, st.lists(needs, max_size=20))
def test_the_best_node_is_the_one_that_a_scan_finds(states: list[NodeState], wanted: list[Pending]) -> None:
    plain = copy.deepcopy(states)
    ranked = BestFit(states)
    for task in wanted:
        found, best = ranked.find(task), naive_best(task, plain)
        assert (found and found.name) == (best and best.name)
        if found is None or best is None:
            continue
        ranked.take(task, found)
        best.free_cpus -= task.cpus
        best.free_memory -= task.memory
        assert found.free_cpus >= -EPSILON
        assert found.free_memory >= 0


def test_the_fullest_node_with_room_is_chosen() -> None:
    ranked = BestFit([samples.node("empty"), samples.node("tight", free_cpus=2), samples.node("full", free_cpus=0.5)])
    found = ranked.find(samples.pending(cpus=1.0))
    assert found is not None
    assert found.name == "tight"


def test_a_node_that_is_not_ready_is_never_chosen() -> None:
    assert BestFit([samples.node(ready=False)]).find(samples.pending()) is None


# --- the plan ---------------------------------------------------------------------------------------


def plan(waiting: Sequence[Pending], states: Sequence[NodeState], *, limit: int = 1000) -> planning.Plan:
    return planning.plan(FifoPass(lanes_of(waiting).lanes), states, limit=limit)


many_tasks = st.lists(tasks, unique_by=lambda task: task.id)


@given(many_tasks, nodes)
def test_a_plan_never_gives_more_of_a_node_than_is_free(waiting: list[Pending], states: list[NodeState]) -> None:
    before = {node.name: copy.copy(node) for node in states}
    by_node: dict[str, list[Pending]] = {}
    for placed in plan(waiting, states).placements:
        by_node.setdefault(placed.node, []).append(placed.task)
    for name, placed_tasks in by_node.items():
        assert before[name].ready
        assert sum(task.cpus for task in placed_tasks) <= before[name].free_cpus + EPSILON * len(placed_tasks)
        assert sum(task.memory for task in placed_tasks) <= before[name].free_memory


@given(many_tasks, nodes)
def test_every_task_is_placed_once_or_its_shape_has_a_reason(waiting: list[Pending], states: list[NodeState]) -> None:
    result = plan(waiting, states)
    reasons, left = ShapeReasons().refresh(result.unplaced, states, now=0.0)
    placed = [placed.task.id for placed in result.placements]
    assert len(placed) == len(set(placed))
    for task in waiting:
        assert task.id in placed or reasons[task.shape]
    assert result.unplaced.keys() == reasons.keys()
    assert not result.full
    assert not left


@given(many_tasks, nodes)
def test_among_equal_tasks_the_oldest_are_placed(waiting: list[Pending], states: list[NodeState]) -> None:
    placed = {placed.task.id for placed in plan(waiting, states).placements}
    for shape in {task.shape for task in waiting}:
        alike = sorted((task for task in waiting if task.shape == shape), key=lambda task: task.seniority)
        were_placed = [task.id in placed for task in alike]
        assert were_placed == sorted(were_placed, reverse=True)


@given(many_tasks, nodes)
def test_an_unplaced_task_fits_nowhere_except_on_the_reserved_node(
    waiting: list[Pending], states: list[NodeState]
) -> None:
    result = plan(waiting, states)
    placed = {placed.task.id for placed in result.placements}
    kept = result.reservation.node if result.reservation else None
    # `states` is now as the plan leaves it; a shape is refused at a moment when more was free than now.
    others = [node for node in states if node.name != kept]
    for task in waiting:
        assert task.id in placed or naive_best(task, others) is None


def test_a_plan_stops_at_its_limit_and_reports_it() -> None:
    waiting = [samples.pending(number, cpus=0.1, memory=1) for number in range(1, 6)]
    limited = plan(waiting, [samples.node()], limit=3)
    assert [placed.task.id for placed in limited.placements] == [1, 2, 3]
    assert limited.full
    assert not plan(waiting, [samples.node()], limit=5).full


def test_a_fresh_reason_is_not_computed_again() -> None:
    shape_reasons, waiting = ShapeReasons(), {"large": samples.pending(cpus=64.0)}
    assert shape_reasons.refresh(waiting, [samples.node()], now=10.0)[0].keys() == {"large"}
    assert shape_reasons.refresh(waiting, [samples.node()], now=10.0 + AGE / 2) == ({}, False)
    assert shape_reasons.refresh(waiting, [samples.node()], now=10.0 + AGE)[0].keys() == {"large"}


def test_many_shapes_are_explained_over_several_passes_and_none_is_left_out() -> None:
    shape_reasons = ShapeReasons()
    waiting = {str(number): samples.pending(cpus=float(number)) for number in range(100, 100 + 5 * MOST // 2)}
    explained: list[str] = []
    for left in (True, True, False):
        reasons, more = shape_reasons.refresh(waiting, [samples.node()], now=10.0)
        assert more is left
        assert len(reasons) <= MOST
        explained += reasons
    assert sorted(explained) == sorted(waiting)
    # The next pass begins with new shapes, and then takes those with the oldest reasons.
    reasons, more = shape_reasons.refresh(
        {**waiting, "new": samples.pending(cpus=64.0)}, [samples.node()], now=10.0 + AGE
    )
    assert next(iter(reasons)) == "new"
    assert not more


def test_a_large_task_does_not_delay_small_ones_behind_it() -> None:
    result = plan([samples.pending(1, cpus=64.0), samples.pending(2)], [samples.node()])
    assert [placed.task.id for placed in result.placements] == [2]


# --- the cluster ---------------------------------------------------------------------------------------

ONE = Allocation(samples.NODE, 1.0, GB)


def free(cluster: Cluster) -> float:
    return cluster.snapshot()[0].free_cpus


@pytest.fixture
def cluster() -> Cluster:
    """One node of eight cores."""
    made = Cluster()
    made.observe([samples.report()])
    return made


def test_free_is_the_capacity_minus_the_allocations(cluster: Cluster) -> None:
    cluster.allocate(1, 1, ONE)
    cluster.allocate(1, 1, ONE)
    cluster.allocate(2, 1, Allocation("elsewhere", 5.0, GB))
    (state,) = cluster.snapshot()
    assert (state.free_cpus, state.free_memory, state.cpus) == (7.0, 15 * GB, 8.0)
    assert cluster.release([(1, 1)])
    assert not cluster.release([(1, 1), (9, 9)])
    assert free(cluster) == 8.0


def test_an_undone_allocation_restores_the_earlier_one(cluster: Cluster) -> None:
    assert cluster.allocate(1, 1, ONE) is None
    before = cluster.allocate(1, 1, Allocation(samples.NODE, 3.0, GB))
    assert before == ONE
    cluster.restore(1, 1, before)
    assert free(cluster) == 7.0
    cluster.release([(1, 1)])
    cluster.restore(1, 1, before)
    assert free(cluster) == 8.0


def test_a_snapshot_is_a_copy(cluster: Cluster) -> None:
    cluster.snapshot()[0].free_cpus -= 5
    assert free(cluster) == 8.0


def test_an_audit_replaces_allocations_by_the_stored_ones(cluster: Cluster) -> None:
    cluster.allocate(1, 1, ONE)
    cluster.written([(1, 1)])
    cluster.begin_audit()
    assert cluster.end_audit([samples.placed(2), samples.placed(3)]) == 3
    assert free(cluster) == 6.0


def test_an_allocation_during_an_audit_survives_it(cluster: Cluster) -> None:
    cluster.begin_audit()
    cluster.allocate(1, 1, ONE)
    cluster.written([(1, 1)])
    cluster.end_audit([])
    assert free(cluster) == 7.0


def test_a_release_during_an_audit_survives_it(cluster: Cluster) -> None:
    cluster.allocate(1, 1, ONE)
    cluster.begin_audit()
    cluster.release([(1, 1)])
    cluster.end_audit([samples.placed(1)])
    assert free(cluster) == 8.0


def test_an_end_that_arrives_before_the_placement_is_read_counts(cluster: Cluster) -> None:
    cluster.begin_audit()
    cluster.release([(1, 1)])
    cluster.end_audit([samples.placed(1)])
    assert free(cluster) == 8.0


def test_a_placement_that_is_being_written_survives_an_audit_that_reads_past_it(cluster: Cluster) -> None:
    cluster.allocate(1, 1, ONE)  # then the write is under way
    cluster.begin_audit()
    cluster.end_audit([])  # read before the write was done
    assert free(cluster) == 7.0
    cluster.written([(1, 1)])
    cluster.begin_audit()
    cluster.end_audit([])
    assert free(cluster) == 8.0


def test_a_placement_that_was_lost_while_an_audit_read_it_is_free_again(cluster: Cluster) -> None:
    cluster.allocate(1, 1, ONE)
    cluster.begin_audit()
    cluster.written([(1, 1)])
    cluster.release([(1, 1)])
    cluster.end_audit([])
    assert free(cluster) == 8.0


@pytest.mark.parametrize(
    ("before", "after", "is_news"),
    [
        (None, samples.report(), True),
        (samples.report(), samples.report(), False),
        (samples.report(), samples.report(cpus=9), True),
        (samples.report(), samples.report(gb=17), True),
        (samples.report(gpus=("a",)), samples.report(gpus=("a", "b")), True),
        (samples.report(gpus=("a", "b")), samples.report(gpus=("a",)), False),
        (samples.report(labels={"a": "1"}), samples.report(labels={"a": "2"}), True),
        (samples.report(), samples.report(cpus=7), False),
        (samples.report(), samples.report(ready=False), False),
        (samples.report(ready=False), samples.report(), True),
        (None, samples.report(ready=False), False),
    ],
)
def test_only_a_report_that_may_let_a_task_be_placed_wakes_the_cycle(
    before: NodeReport | None, after: NodeReport, is_news: bool
) -> None:
    cluster = Cluster()
    if before is not None:
        cluster.observe([before])
    assert cluster.observe([after]) is is_news


def test_a_node_that_is_no_longer_configured_is_gone_with_its_allocations(cluster: Cluster) -> None:
    cluster.allocate(1, 1, ONE)
    cluster.observe([samples.report("other")])
    assert [(state.name, state.free_cpus) for state in cluster.snapshot()] == [("other", 8.0)]


def test_gpus_and_ports_in_use_are_derived_from_the_tasks_alone() -> None:
    made = Cluster(ports=range(10_000, 10_003))
    made.observe([samples.report(gpus=("a", "b", "c"))])
    made.begin_audit()
    made.end_audit([samples.placed(1, gpus=("b",), ports=(10_001,)), samples.placed(2, gpus=("gone",), ports=(80,))])
    (state,) = made.snapshot()
    assert (state.gpus, state.free_gpus, state.used_ports, state.free_ports) == (3, ["a", "c"], {10_001}, 2)
    given = state.allocate(samples.pending(3, gpus=2, ports=2))
    assert (given.gpus, given.ports) == (("a", "c"), (10_000, 10_002))
    assert given.leases == [f"{samples.NODE}/{what}" for what in ("gpu/a", "gpu/c", "port/10000", "port/10002")]
    made.release([(1, 1)])
    assert made.snapshot()[0].free_gpus == ["a", "b", "c"]


def test_a_port_in_use_by_another_program_is_not_given_to_tasks_for_a_while() -> None:
    made = Cluster(ports=range(10_000, 10_003))
    made.observe([samples.report("n1"), samples.report("n2")])
    made.shun("n1", [10_000, 80], until=100.0)
    made.shun("n3", [10_001], until=100.0)
    assert [state.free_ports for state in made.snapshot()] == [2, 3]
    made.forgive(99.0)
    assert [state.free_ports for state in made.snapshot()] == [2, 3]
    made.forgive(100.0)
    assert [state.free_ports for state in made.snapshot()] == [3, 3]


def test_placed_children_are_counted_for_the_given_arrays(cluster: Cluster) -> None:
    cluster.begin_audit()
    cluster.end_audit([samples.placed(number, parent=parent) for number, parent in ((1, 7), (2, 7), (3, 8), (4, None))])
    assert cluster.children([7, 9]) == {7: 2}
    assert cluster.children([]) == {}


def test_clearing_forgets_allocations_and_keeps_nodes(cluster: Cluster) -> None:
    cluster.allocate(1, 1, ONE)
    cluster.begin_audit()
    cluster.clear()
    assert free(cluster) == 8.0
    cluster.begin_audit()
    cluster.end_audit([])
    assert free(cluster) == 8.0


@pytest.mark.parametrize("sizes", [(1234.5671, 1234.5679), (0.1, 0.1 + 1e-9), (2.0, 2.0000001)])
def test_different_sizes_have_different_shapes(sizes: tuple[float, float]) -> None:
    for field in ("cpu", "ram"):
        shapes = {samples.task(**{field: size}).shape for size in sizes}
        assert len(shapes) == 2
    assert samples.task(cpu=2.0, ram=0.5).shape == "cpu=2 ram=0.5", "those that are short stay as they were"
