"""What holds of every plan, whatever waits and whatever nodes there are."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from services.scheduler.placement import backfill, capacity_bounds, feasibility, planning, ranking
from services.scheduler.placement.backfill import Rules
from services.scheduler.placement.capacity_bounds import Room
from services.scheduler.placement.infeasible import Refusals
from services.scheduler.placement.labels import LabelIndex, matches
from services.scheduler.placement.node_state import Allocation, NodeState
from services.scheduler.placement.planning import Arrays, Plan, Terms
from services.scheduler.placement.ranking import RANKINGS, BestFit, Spread
from services.scheduler.placement.reservation import EPSILON
from services.scheduler.placement.search import Possible
from services.scheduler.policies import tickets
from services.scheduler.policies.base import Policy
from services.scheduler.policies.fairshare import FairShare
from services.scheduler.policies.fifo import Fifo, FifoPass
from services.scheduler.policies.tickets import Weights
from services.scheduler.policies.view import Standing, Usage, View
from services.scheduler.queue.book import Book
from services.scheduler.queue.lanes import lane_of
from shared.models.work import Pending
from shared.units.sizes import GB
from tests.support import samples

NOW = samples.NOW
DEVICES = ("0", "1", "2")

tasks = st.builds(
    samples.pending,
    st.integers(1, 60),
    user=st.sampled_from(["alice", "bob"]),
    cpus=st.sampled_from([0.5, 1.0, 2.0, 4.0, 9.0]),
    memory=st.sampled_from([GB, 2 * GB, 8 * GB]),
    gpus=st.sampled_from([0, 0, 0, 1, 2]),
    ports=st.sampled_from([0, 0, 0, 1, 2]),
    labels=st.sampled_from([(), (), ("storage==ssd",), ("storage!=ssd",), ("storage==ssd", "zone==a")]),
    avoid=st.sampled_from([(), (), ("n0",), ("n0", "n1")]),
    parent=st.sampled_from([None, None, 100, 101]),
    lifespan=st.sampled_from([None, None, 10.0, 100.0]),
    queued_at=st.sampled_from([NOW - 1000, NOW - 20, NOW]),
)
queues = st.lists(tasks, unique_by=lambda task: task.id, max_size=15)


@st.composite
def nodes(draw: st.DrawFn) -> list[NodeState]:
    """Up to four nodes of which some tasks hold a part."""
    made = []
    for number in range(draw(st.integers(0, 4))):
        node = samples.node(
            f"n{number}",
            draw(st.sampled_from([4.0, 8.0])),
            gpus=DEVICES[: draw(st.integers(0, 3))],
            labels=draw(st.sampled_from([{}, {"storage": "ssd"}, {"storage": "hdd"}, {"storage": "ssd", "zone": "a"}])),
            ports=range(10_000, 10_003),
            ready=draw(st.sampled_from([True, True, True, False])),
        )
        for _ in range(draw(st.integers(0, 3))):
            node.charge(
                Allocation(
                    node.name,
                    draw(st.sampled_from([0.0, 1.0, 2.0, 3.0])),
                    draw(st.sampled_from([0, GB, 4 * GB])),
                    tuple(node.free_gpus[: draw(st.integers(0, 1))]),
                    tuple(sorted(set(node.ports) - node.used_ports)[: draw(st.integers(0, 1))]),
                    draw(st.sampled_from([None, NOW - 5, NOW + 50])),
                )
            )
        assume(node.free_cpus >= 0 and node.free_memory >= 0)
        made.append(node)
    return made


terms = st.builds(
    Terms,
    ranking=st.sampled_from(list(RANKINGS.values())),
    rules=st.builds(Rules, now=st.just(NOW), reserve_after=st.sampled_from([0.0, 60.0])),
    arrays=st.builds(
        Arrays,
        limits=st.dictionaries(st.sampled_from([100, 101]), st.integers(1, 3)),
        placed=st.dictionaries(st.sampled_from([100, 101]), st.integers(0, 3)),
    ),
)


def plan(waiting: Sequence[Pending], states: Sequence[NodeState], kept_to: Terms, *, limit: int = 1000) -> Plan:
    book = Book()
    book.add(waiting)
    return planning.plan(FifoPass(book.lanes), states, limit=limit, terms=kept_to)


@given(queues, nodes(), terms)
def test_every_placement_fits_in_all_that_a_node_has(
    waiting: list[Pending], states: list[NodeState], kept_to: Terms
) -> None:
    before = {node.name: copy.deepcopy(node) for node in states}
    for placed in plan(waiting, states, kept_to).placements:
        task, given_to, node = placed.task, placed.given, before[placed.node]
        assert feasibility.fits(task, node)  # as those placed before it left the node
        assert (given_to.cpus, given_to.memory) == (task.cpus, task.memory)
        assert len(given_to.gpus) == task.gpus
        assert set(given_to.gpus) <= set(node.free_gpus)
        assert len(given_to.ports) == task.ports
        assert set(given_to.ports) <= set(node.ports) - node.used_ports
        node.charge(given_to)
        assert node.free_cpus >= -EPSILON
        assert node.free_memory >= 0
    assert before == {node.name: node for node in states}  # and the plan has counted as we have


@given(queues, nodes(), terms)
def test_no_device_and_no_port_is_given_twice(waiting: list[Pending], states: list[NodeState], kept_to: Terms) -> None:
    held = [lease for node in states for allocation in node.held for lease in allocation.leases]
    given_now = [lease for placed in plan(waiting, states, kept_to).placements for lease in placed.given.leases]
    assert len(given_now) == len(set(given_now))
    assert not set(given_now) & set(held)


@given(queues, nodes(), terms)
def test_what_is_left_waiting_fits_nowhere_unless_a_limit_or_the_reservation_holds_it(
    waiting: list[Pending], states: list[NodeState], kept_to: Terms
) -> None:
    result = plan(waiting, states, kept_to)
    placed = {placed.task.id for placed in result.placements}
    running = Counter(kept_to.arrays.placed) + Counter(placed.task.parent for placed in result.placements)
    kept = result.reservation
    for task in waiting:
        if task.id in placed:
            continue
        most = kept_to.arrays.limits.get(task.parent) if task.parent is not None else None
        if most is not None and running[task.parent] >= most:
            continue
        for node in states:
            if feasibility.fits(task, node):
                assert kept is not None
                assert kept.node == node.name
                assert not kept.permits(task)
                assert kept.task_id != task.id


@given(queues, nodes(), terms)
def test_no_array_has_more_children_placed_than_it_may(
    waiting: list[Pending], states: list[NodeState], kept_to: Terms
) -> None:
    placed = Counter(placed.task.parent for placed in plan(waiting, states, kept_to).placements)
    for parent, most in kept_to.arrays.limits.items():
        assert placed[parent] <= max(0, most - kept_to.arrays.placed.get(parent, 0))


@given(queues, nodes(), terms)
def test_who_is_placed_after_the_reservation_was_made_does_not_put_the_head_off(
    waiting: list[Pending], states: list[NodeState], kept_to: Terms
) -> None:
    first = samples.pending(99, cpus=4.0, memory=8 * GB, queued_at=NOW - 500)
    waiting = [*waiting, first]
    kept = plan(waiting, states, kept_to).reservation
    if kept is None or kept.start is None:
        return
    head = next(task for task in waiting if task.id == kept.task_id)
    node = next(node for node in states if node.name == kept.node)
    then = copy.deepcopy(node)
    for held in node.held:
        if held.until is not None and held.until <= kept.start:
            then.free_cpus += held.cpus
            then.free_memory += held.memory
            then.free_gpus += held.gpus
            then.used_ports -= set(held.ports)
    assert feasibility.fits(head, then)


@given(queues, nodes(), terms)
def test_each_is_placed_once_and_of_tasks_alike_the_first_ones(
    waiting: list[Pending], states: list[NodeState], kept_to: Terms
) -> None:
    placed = [placed.task.id for placed in plan(waiting, states, kept_to).placements]
    assert len(placed) == len(set(placed))
    alike = sorted(waiting, key=lambda task: (task.shape, task.parent or 0, task.lifespan or 0, task.user))
    for _, lane in itertools.groupby(alike, key=lambda task: (task.shape, task.parent, task.lifespan, task.user)):
        told = [task.id in placed for task in sorted(lane, key=lambda task: task.seniority)]
        assert told == sorted(told, reverse=True)


@given(queues, nodes(), terms)
def test_judging_by_shape_comes_to_the_same_as_judging_each_task(
    waiting: list[Pending], states: list[NodeState], kept_to: Terms
) -> None:
    each = [replace(task, shape=f"{task.id}") for task in waiting]
    by_shape = plan(waiting, copy.deepcopy(states), kept_to).placements
    one_by_one = plan(each, copy.deepcopy(states), kept_to).placements
    assert [(placed.task.id, placed.given) for placed in by_shape] == [
        (placed.task.id, placed.given) for placed in one_by_one
    ]


@given(queues, nodes())
def test_what_is_covered_by_a_refusal_has_no_room(waiting: list[Pending], states: list[NodeState]) -> None:
    refusals = Refusals(LabelIndex(states))
    for task in waiting:
        has_room = any(feasibility.fits(task, node) for node in states)
        if refusals.covers(task):
            assert not has_room
        elif not has_room:
            refusals.add(task)
            assert refusals.covers(task)


@given(queues, nodes())
def test_a_bound_refuses_what_has_no_room_and_all_of_it_but_for_ports_and_what_is_avoided(
    waiting: list[Pending], states: list[NodeState]
) -> None:
    ready = [node for node in states if node.ready]
    bounds = Room(LabelIndex(ready), capacity_bounds.free)
    for task in waiting:
        able = [node for node in ready if feasibility.fits(task, node)]
        if bounds.lacks(task):
            assert not able
        elif able:
            able[0].allocate(task)
            bounds.note_taken()
        else:
            bounds.note_refused(task)  # too high, perhaps, after what was taken
            assert bounds.lacks(task) or task.ports or task.avoid


@given(queues, nodes())
def test_what_is_possible_is_what_a_node_could_ever_take(waiting: list[Pending], states: list[NodeState]) -> None:
    possible = Possible(BestFit(states))
    for task in waiting:
        could = any(node.ready and feasibility.could_ever_fit(task, node) for node in states)
        assert possible.holds(task) is could


@given(tasks, nodes())
def test_the_index_of_labels_finds_what_a_look_at_every_node_finds(task: Pending, states: list[NodeState]) -> None:
    index = LabelIndex(states)
    matching = [node for node in states if matches(task.labels, node)]
    assert list(index.matching(task.labels)) == matching
    assert list(index.matching(task.labels)) == matching  # and the second time


# --- against a pass that has everything asked ----------------------------------------------------

WEIGHTS = Weights(waiting_time=0.1, user_time=1, user_cpu=0.2, group_time=0.5, user=1, group=1)
VIEW = View(
    now=NOW,
    users={"alice": Standing(80, Usage(600, 900, 900)), "bob": Standing(20, expected=600)},
    projects={"one": Standing(30, Usage(60, 60, 60))},
    user_mean=Usage(600, 600, 600),
    project_mean=Usage(600, 600, 600),
)
owned = st.lists(
    st.builds(
        replace,
        tasks,
        project=st.sampled_from(["default", "one"]),
        ticket_share=st.sampled_from([None, None, 0.5]),
    ),
    unique_by=lambda task: task.id,
    max_size=25,
)


class PlainTickets:
    """The tickets of all, found anew for each turn; under first in, first out nobody has any."""

    def __init__(self, policy: Policy) -> None:
        self._is_fair = policy.needs_shares
        self._users = {name: sum(tickets.user_parts(VIEW.user(name), VIEW, WEIGHTS).values()) for name in VIEW.users}
        self._projects = {
            name: sum(tickets.group_parts(VIEW.project(name), VIEW, WEIGHTS).values()) for name in ("default", "one")
        }

    def of(self, task: Pending) -> tuple[float, float, int]:
        ticket, per_second = 0.0, WEIGHTS.waiting_time / tickets.DAY
        if self._is_fair:
            own = WEIGHTS.waiting_time - per_second * NOW + per_second * task.queued_at + (task.ticket_share or 0.0)
            ticket = self._projects[task.project] + (self._users[task.user] + own)
        return ticket, *task.seniority

    def charge(self, task: Pending) -> None:
        used = tickets.expected_usage(task, VIEW.user(task.user))
        self._users[task.user] += tickets.user_charge(used, VIEW, WEIGHTS)
        if task.project != "default":
            self._projects[task.project] += tickets.group_charge(used, VIEW, WEIGHTS)


def plain_plan(waiting: Sequence[Pending], states: Sequence[NodeState], kept_to: Terms, policy: Policy) -> Plan:
    """What a pass is to find, without anything that makes it fast: all that waits is sorted, and every node asked, each time."""
    result, left, turns = Plan(), list(waiting), PlainTickets(policy)
    running, head = Counter(kept_to.arrays.placed), None
    while left:
        task = min(left, key=turns.of)
        able = [node for node in states if feasibility.fits(task, node)]
        kept = result.reservation
        free = [node for node in able if kept is None or node.name != kept.node or kept.permits(task)]
        limit = kept_to.arrays.limits.get(task.parent) if task.parent is not None else None
        if (limit is not None and running[task.parent] >= limit) or kept_to.is_held(task):
            result.held.append(task)
            left = [other for other in left if lane_of(other) != lane_of(task)]
        elif node := kept_to.ranking(free).find(task):
            if kept is not None and node.name == kept.node:
                result.reservation = kept.beside(task)
            lifespan, now = task.lifespan, kept_to.rules.now
            until = None if lifespan is None else now + lifespan
            result.placements.append(planning.Placement(task, node.allocate(task, since=now, until=until)))
            running[task.parent] += 1
            turns.charge(task)
            left.remove(task)
        else:
            result.unplaced.setdefault(task.shape, task)
            lasts = (task.lifespan or float("inf")) if able else 0.0
            left = [other for other in left if other.shape != task.shape or (other.lifespan or float("inf")) < lasts]
            could = any(node.ready and feasibility.could_ever_fit(task, node) for node in states)
            if head is None and not able and could:
                head, result.reservation = task, backfill.reserve(task, states, kept_to.rules)
    return result


@hypothesis_settings(max_examples=3 * hypothesis_settings.default.max_examples)
@given(owned, nodes(), terms, st.sampled_from([Fifo(), FairShare(WEIGHTS)]), st.sampled_from(["nobody", "bob"]))
def test_a_pass_chooses_exactly_what_one_that_asks_every_node_each_time_chooses(
    waiting: list[Pending], states: list[NodeState], kept_to: Terms, policy: Policy, held: str
) -> None:
    kept_to = replace(kept_to, is_held=lambda task: task.user == held and task.project == "one")
    book = Book()
    book.add(waiting)
    plain = plain_plan(waiting, copy.deepcopy(states), kept_to, policy)
    result = planning.plan(policy.begin(book.lanes, VIEW), states, limit=1000, terms=kept_to)
    assert result == plain


# --- ranking --------------------------------------------------------------------------------------


def _tightness(node: NodeState) -> tuple[float, ...]:
    return len(node.free_gpus), node.free_cpus, node.free_memory


def _fullness(task: Pending, node: NodeState) -> tuple[float, ...]:
    shares = sorted((node.free_cpus / node.cpus, node.free_memory / node.memory))
    gpus = -len(node.free_gpus) if task.gpus else bool(node.free_gpus)
    return (gpus, -shares[0], -shares[1])


@pytest.fixture(params=[1, 8], ids=["each node is looked at", "nodes are searched"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where labels leave few nodes, each is looked at: of so few nodes as here that never happens."""
    monkeypatch.setattr(ranking, "FEW", request.param)


@pytest.mark.usefixtures("few")
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(tasks, max_size=10), nodes())
def test_binpack_takes_the_fullest_node_that_has_room(waiting: list[Pending], states: list[NodeState]) -> None:
    ranked = BestFit(states)
    for task in waiting:
        able = [node for node in states if feasibility.fits(task, node)]
        found = ranked.find(task)
        assert (found is None) is (not able)
        if found is not None:
            assert _tightness(found) == min(_tightness(node) for node in able)
            ranked.take(task, found)


@pytest.mark.usefixtures("few")
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(tasks, max_size=10), nodes())
def test_spread_takes_the_emptiest_node_that_has_room(waiting: list[Pending], states: list[NodeState]) -> None:
    ranked = Spread(states)
    for task in waiting:
        able = [node for node in states if feasibility.fits(task, node)]
        found = ranked.find(task)
        assert (found is None) is (not able)
        if found is not None:
            assert _fullness(task, found) == min(_fullness(task, node) for node in able)
            ranked.take(task, found)


@given(st.sampled_from(list(RANKINGS.values())), tasks, nodes(), st.integers(0, 3))
def test_a_node_that_is_kept_is_not_found(
    kind: type[BestFit], task: Pending, states: list[NodeState], kept: int
) -> None:
    without = states[kept] if kept < len(states) else None
    found = kind(states).find(task, without=without)
    others = [node for node in states if node is not without]
    assert found is not without or found is None
    assert (found is None) is not any(feasibility.fits(task, node) for node in others)
