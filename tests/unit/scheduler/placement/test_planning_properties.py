"""Properties of every plan, for any pending tasks and any nodes."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from services.scheduler.placement import backfill, feasibility, planning
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.planning import Plan, Terms
from services.scheduler.placement.reservation import EPSILON
from services.scheduler.policies import tickets
from services.scheduler.policies.base import Policy
from services.scheduler.policies.fairshare import FairShare
from services.scheduler.policies.fifo import Fifo, FifoPass
from services.scheduler.policies.tickets import Weights
from services.scheduler.policies.view import OwnerUsage, Usage, View
from services.scheduler.queue.book import Book
from services.scheduler.queue.lanes import lane_of
from shared.models.work import Pending
from shared.units.sizes import GB
from tests.support import samples
from tests.unit.scheduler.placement.strategies import NOW, nodes, queues, tasks, terms


def plan(waiting: Sequence[Pending], states: Sequence[NodeState], kept_to: Terms, *, limit: int = 1000) -> Plan:
    book = Book()
    book.add(waiting)
    return planning.plan(FifoPass(book.lanes), states, limit=limit, terms=kept_to)


@given(queues, nodes(), terms)
def test_every_placement_fits_on_its_node_in_every_resource(
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
def test_an_unplaced_task_fits_nowhere_unless_a_limit_or_the_reservation_holds_it(
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
def test_a_task_placed_after_the_reservation_does_not_delay_the_head(
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
def test_each_task_is_placed_once_and_among_equal_tasks_the_oldest(
    waiting: list[Pending], states: list[NodeState], kept_to: Terms
) -> None:
    placed = [placed.task.id for placed in plan(waiting, states, kept_to).placements]
    assert len(placed) == len(set(placed))
    alike = sorted(waiting, key=lambda task: (task.shape, task.parent or 0, task.lifespan or 0, task.user))
    for _, lane in itertools.groupby(alike, key=lambda task: (task.shape, task.parent, task.lifespan, task.user)):
        were_placed = [task.id in placed for task in sorted(lane, key=lambda task: task.seniority)]
        assert were_placed == sorted(were_placed, reverse=True)


@given(queues, nodes(), terms)
def test_skipping_by_shape_gives_the_same_plan_as_checking_each_task(
    waiting: list[Pending], states: list[NodeState], kept_to: Terms
) -> None:
    each = [replace(task, shape=f"{task.id}") for task in waiting]
    by_shape = plan(waiting, copy.deepcopy(states), kept_to).placements
    one_by_one = plan(each, copy.deepcopy(states), kept_to).placements
    assert [(placed.task.id, placed.given) for placed in by_shape] == [
        (placed.task.id, placed.given) for placed in one_by_one
    ]


# --- against a pass that has everything asked ----------------------------------------------------

WEIGHTS = Weights(waiting_time=0.1, user_time=1, user_cpu=0.2, group_time=0.5, user=1, group=1)
VIEW = View(
    now=NOW,
    users={"alice": OwnerUsage(80, Usage(600, 900, 900)), "bob": OwnerUsage(20, expected=600)},
    projects={"one": OwnerUsage(30, Usage(60, 60, 60))},
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
    """The tickets of all tasks, computed again for each turn; FIFO has none."""

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
    """
    Compute the expected plan without any shortcut: sort all pending tasks and compare every node, each time.
    """
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
def test_a_pass_chooses_exactly_as_a_plain_one_that_scans_all_nodes(
    waiting: list[Pending], states: list[NodeState], kept_to: Terms, policy: Policy, held: str
) -> None:
    kept_to = replace(kept_to, is_held=lambda task: task.user == held and task.project == "one")
    book = Book()
    book.add(waiting)
    plain = plain_plan(waiting, copy.deepcopy(states), kept_to, policy)
    result = planning.plan(policy.begin(book.lanes, VIEW), states, limit=1000, terms=kept_to)
    assert result == plain
