"""Fair share: tickets computed by hand, the order within a pass, and properties of every order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.policies import tickets
from services.scheduler.policies.base import Pass, Policy
from services.scheduler.policies.fairshare import FairShare
from services.scheduler.policies.fifo import Fifo
from services.scheduler.policies.position import position, positions
from services.scheduler.policies.tickets import DAY, Weights
from services.scheduler.policies.view import OwnerUsage, Usage, View
from services.scheduler.queue.book import Book
from shared.models.work import Pending
from shared.settings import Settings
from shared.units.sizes import GB
from tests.support import samples

NOW = 10 * DAY
HOUR = 3600.0

ORIGINAL = Weights.of(Settings())

#: Of users with a core and a GB for 4, 2 and 0 hours; the mean of those who used anything is 3 hours.
HEAVY = OwnerUsage(50, Usage(4 * HOUR, 8 * HOUR, 16 * HOUR))
LIGHT = OwnerUsage(50, Usage(2 * HOUR, 2 * HOUR, 2 * HOUR))
VIEW = View(
    now=NOW,
    users={"heavy": HEAVY, "light": LIGHT, "first": OwnerUsage(100), "last": OwnerUsage(0)},
    projects={
        "default": OwnerUsage(50, Usage(30 * HOUR, 60 * HOUR, 90 * HOUR)),
        "big": OwnerUsage(80, Usage(30 * HOUR, 60 * HOUR, 90 * HOUR)),
        "small": OwnerUsage(20, Usage(10 * HOUR, 10 * HOUR, 10 * HOUR)),
    },
    user_mean=Usage(3 * HOUR, 5 * HOUR, 9 * HOUR),
    project_mean=Usage(20 * HOUR, 35 * HOUR, 50 * HOUR),
)


def waiting(user: str = "nobody", project: str = "new", *, waited: float = 0.0, **fields: Any) -> Pending:
    return samples.pending(fields.pop("id", 1), user=user, project=project, queued_at=NOW - waited, **fields)


# --- the ticket ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "task", "ticket"),
    [
        # Nothing weighs anything: all are alike.
        (Weights(), waiting("heavy", "big", waited=DAY), 0.0),
        # Waiting: the whole weight at first, 0 after a day, and then below 0.
        (Weights(waiting_time=0.5), waiting(), 0.5),
        (Weights(waiting_time=0.5), waiting(waited=DAY / 2), 0.25),
        (Weights(waiting_time=0.5), waiting(waited=5 * DAY), -2.0),
        # A user's usage against the mean: 4 of 3 hours, 8 of 5, 16 of 9; 2 of 3, 2 of 5, 2 of 9.
        (Weights(user_time=3), waiting("heavy"), 4.0),
        (Weights(user_cpu=5), waiting("heavy"), 8.0),
        (Weights(user_ram=9), waiting("heavy"), 16.0),
        (Weights(user_time=3), waiting("light"), 2.0),
        (Weights(user_cpu=5), waiting("light"), 2.0),
        (Weights(user_ram=9), waiting("light"), 2.0),
        (Weights(user_time=3, user_cpu=5, user_ram=9), waiting("nobody", "big"), 0.0),
        # A project's: 30 of 20 hours, 60 of 35, 90 of 50; 10 of 20, 10 of 35, 10 of 50.
        (Weights(group_time=2), waiting(project="big"), 3.0),
        (Weights(group_cpu=7), waiting(project="big"), 12.0),
        (Weights(group_ram=5), waiting(project="big"), 9.0),
        (Weights(group_time=2), waiting(project="small"), 1.0),
        (Weights(group_cpu=7), waiting(project="small"), 2.0),
        (Weights(group_ram=5), waiting(project="small"), 1.0),
        (Weights(group_time=2, group_cpu=7, group_ram=5), waiting("heavy", "new"), 0.0),
        # Priorities: 100 costs nothing, 0 the whole weight, who is not known counts as 50.
        (Weights(user=2), waiting("first"), 0.0),
        (Weights(user=2), waiting("last"), 2.0),
        (Weights(user=2), waiting("nobody"), 1.0),
        (Weights(group=2), waiting(project="big"), 0.4),
        (Weights(group=2), waiting(project="small"), 1.6),
        (Weights(group=2), waiting(project="new"), 1.0),
        # What the task itself asks for is taken as it is.
        (Weights(), waiting(ticket_share=0.75), 0.75),
        # The weights of the original: .1 · ½ + (1 · 4/3 + .2 · 8/5 + .2 · 16/9) + ½ + (.1 · 3/2 + .01 · 12/7 + .01 · 9/5) + .2
        (ORIGINAL, waiting("heavy", "big", waited=DAY / 2), 0.05 + 2.0088889 + 0.5 + 0.1851429 + 0.2),
        # .1 + (1 · 2/3 + .2 · 2/5 + .2 · 2/9) + ½ + (.1 · 1/2 + .01 · 2/7 + .01 · 1/5) + .8
        (ORIGINAL, waiting("light", "small"), 0.1 + 0.7911111 + 0.5 + 0.0548571 + 0.8),
        # .1 · (1 − 20) + 0 + 0 + ½ + 3
        (ORIGINAL, waiting("first", "new", waited=20 * DAY, ticket_share=3.0), -1.9 + 0.0 + 0.5 + 3.0),
    ],
)
def test_a_ticket_equals_the_one_computed_by_hand(weights: Weights, task: Pending, ticket: float) -> None:
    assert FairShare(weights).score(task, VIEW).total == pytest.approx(ticket, abs=1e-6)


def test_each_part_of_a_score_depends_on_its_own_weight_alone() -> None:
    task = waiting("heavy", "big", waited=DAY / 2, ticket_share=0.25)
    parts = dict(FairShare(ORIGINAL).score(task, VIEW).parts)
    assert set(parts) == {
        *("waiting", "user_time", "user_cpu", "user_ram", "user_prio"),
        *("group_time", "group_cpu", "group_ram", "group_prio", "ticket_share"),
    }
    names = {"waiting_time": "waiting", "user": "user_prio", "group": "group_prio"}
    for weight in Weights.__dataclass_fields__:
        doubled = replace(ORIGINAL, **{weight: 2 * getattr(ORIGINAL, weight)})
        part = names.get(weight, weight)
        expected = parts | {part: 2 * parts[part]}
        assert FairShare(doubled).score(task, VIEW).parts == pytest.approx(expected)


def test_the_weights_have_the_names_and_defaults_of_go_docker() -> None:
    assert Weights(0.1, 1, 0.2, 0.2, 0.1, 0.01, 0.01, 1, 1) == ORIGINAL


# --- the order within a pass ------------------------------------------------------------------


def offers(turn: Pass, *, no_room_for: Sequence[str] = (), held: Sequence[int] = ()) -> Iterator[Pending]:
    """Return the ids in order of turns; all but `no_room_for` (shapes) and `held` (arrays) are placed."""
    while (task := turn.pop()) is not None:
        yield task
        if task.shape in no_room_for:
            turn.skip(task)
        elif task.parent in held:
            turn.hold(task)
        else:
            turn.charge(task)


def order(policy: Policy, tasks: Sequence[Pending], view: View, **answers: Any) -> list[int]:
    book = Book()
    book.add(tasks)
    return [task.id for task in offers(policy.begin(book.lanes, view), **answers)]


def queue(user: str, ids: range, project: str = "default", **fields: Any) -> list[Pending]:
    """Return tasks of a user that all waited for about an hour."""
    return [
        samples.pending(number, user=user, project=project, queued_at=NOW - HOUR + number / 1000, **fields)
        for number in ids
    ]


EMPTY = View(now=NOW, user_mean=Usage(60, 60, 60), project_mean=Usage(60, 60, 60))


def test_one_pass_serves_users_in_turn_whoever_came_first() -> None:
    tasks = [*queue("alice", range(1, 101)), *queue("bob", range(101, 105)), *queue("carol", range(105, 109))]
    assert order(FairShare(ORIGINAL), tasks, EMPTY)[:12] == [1, 101, 105, 2, 102, 106, 3, 103, 107, 4, 104, 108]
    assert order(Fifo(), tasks, EMPTY)[:12] == list(range(1, 13))


def test_a_task_with_twice_the_cores_counts_twice() -> None:
    tasks = [*queue("alice", range(1, 9), cpus=2.0), *queue("bob", range(9, 17))]
    offered = order(FairShare(Weights(user_cpu=1)), tasks, EMPTY)
    assert offered[:9] == [1, 9, 10, 2, 11, 12, 3, 13, 14]


def test_the_user_with_less_usage_goes_first_until_both_are_level() -> None:
    view = replace(EMPTY, users={"alice": OwnerUsage(usage=Usage(time=180))})  # three tasks' worth
    offered = order(FairShare(Weights(user_time=1)), [*queue("alice", range(1, 4)), *queue("bob", range(4, 9))], view)
    assert offered == [4, 5, 6, 1, 7, 2, 8, 3]


def test_a_higher_priority_goes_first_up_to_the_usage_it_is_worth() -> None:
    view = replace(EMPTY, users={"alice": OwnerUsage(0), "bob": OwnerUsage(100)})
    tasks = [*queue("alice", range(1, 4)), *queue("bob", range(4, 9))]
    # A priority that is higher by 100 points, at weight 2, is worth two average tasks.
    assert order(FairShare(Weights(user_time=1, user=2)), tasks, view) == [4, 5, 1, 6, 2, 7, 3, 8]


def test_users_of_a_project_share_its_turns() -> None:
    tasks = [
        *queue("alice", range(1, 4), "crowd"),
        *queue("bob", range(4, 7), "crowd"),
        *queue("carol", range(7, 11), "single"),
    ]
    assert order(FairShare(Weights(user_time=0.01, group_time=1)), tasks, EMPTY)[:8] == [1, 7, 4, 8, 2, 9, 5, 10]


def test_usage_in_one_project_counts_in_the_users_other_projects() -> None:
    tasks = [
        *queue("alice", range(1, 4), "one"),
        *queue("alice", range(4, 7), "two"),
        *queue("bob", range(7, 13), "three"),
    ]
    offered = order(FairShare(Weights(user_time=1)), tasks, EMPTY)
    assert offered == [1, 7, 2, 8, 3, 9, 4, 10, 5, 11, 6, 12]


def test_the_default_project_is_not_charged() -> None:
    tasks = [*queue("alice", range(1, 3), "default"), *queue("bob", range(3, 5), "one")]
    assert order(FairShare(Weights(group_time=1)), tasks, EMPTY) == [1, 2, 3, 4]


def test_with_equal_usage_the_task_that_waited_longer_goes_first() -> None:
    tasks = [
        samples.pending(1, user="alice", queued_at=NOW - HOUR),
        samples.pending(2, user="bob", queued_at=NOW - DAY),
    ]
    assert order(FairShare(Weights(waiting_time=1)), tasks, EMPTY) == [2, 1]


def test_a_ticket_share_can_only_put_a_task_back() -> None:
    tasks = [
        samples.pending(1, user="alice", queued_at=NOW - HOUR, ticket_share=9.0),
        samples.pending(2, user="bob", queued_at=NOW - 1, ticket_share=0.0),
        samples.pending(3, user="carol", queued_at=NOW),
    ]
    assert order(FairShare(ORIGINAL), tasks, EMPTY) == [2, 3, 1]
    own = [*queue("alice", range(1, 2), ticket_share=9.0), *queue("alice", range(2, 4))]
    assert order(FairShare(ORIGINAL), own, EMPTY) == [2, 3, 1]


def test_a_shape_without_room_and_an_array_at_its_limit_use_up_no_turns() -> None:
    tasks = [
        *queue("alice", range(1, 4), cpus=64.0),
        *queue("alice", range(4, 6)),
        *queue("bob", range(6, 9), parent=90),
        *queue("bob", range(9, 10)),
        *queue("carol", range(10, 11), cpus=64.0),
    ]
    large = tasks[0].shape
    assert order(FairShare(ORIGINAL), tasks, EMPTY, no_room_for=[large], held=[90]) == [1, 4, 6, 9, 5]


@pytest.mark.parametrize("policy", [Fifo(), FairShare(ORIGINAL)])
def test_a_position_is_the_number_of_turns_before(policy: Policy) -> None:
    tasks = [*queue("alice", range(1, 20)), *queue("bob", range(20, 25)), *queue("bob", range(25, 27), cpus=64.0)]
    book = Book()
    book.add(tasks)
    turns = order(policy, tasks, EMPTY)
    found = positions(policy, [task.id for task in tasks], book.lanes, EMPTY)
    assert found == {task_id: number for number, task_id in enumerate(turns)}
    assert position(policy, turns[5], book.lanes, EMPTY) == 5
    assert position(policy, turns[5], book.lanes, EMPTY, furthest=6) == 5
    assert position(policy, turns[5], book.lanes, EMPTY, furthest=5) is None
    assert position(policy, 99, book.lanes, EMPTY) is None
    others = {turns[1], turns[3]}  # they can never run
    assert position(policy, turns[5], book.lanes, EMPTY, may_run=lambda task: task.id not in others) == 3


# --- compared with a full scan ------------------------------------------------------------------

weights = st.builds(Weights, *[st.sampled_from([0.0, 0.1, 1.0]) for _ in Weights.__dataclass_fields__])
some = st.builds(
    samples.pending,
    st.integers(1, 60),
    user=st.sampled_from(["alice", "bob", "carol"]),
    project=st.sampled_from(["default", "one", "two"]),
    cpus=st.sampled_from([0.5, 1.0, 4.0]),
    memory=st.sampled_from([GB, 8 * GB]),
    queued_at=st.sampled_from([NOW - 3 * DAY, NOW - HOUR, NOW]),
    ticket_share=st.sampled_from([None, None, 0.5]),
)
standing = st.builds(
    OwnerUsage,
    st.sampled_from([0.0, 50.0, 100.0]),
    st.builds(Usage, *[st.sampled_from([0.0, 60.0, 600.0])] * 3),
    st.sampled_from([30.0, 60.0]),
)
views = st.builds(
    View,
    st.just(NOW),
    st.dictionaries(st.sampled_from(["alice", "bob"]), standing),
    st.dictionaries(st.sampled_from(["default", "one"]), standing),
    st.just(Usage(60, 60, 60)),
    st.just(Usage(600, 600, 600)),
)
many = st.lists(some, unique_by=lambda task: task.id, max_size=25)


def charged(view: View, task: Pending) -> View:
    """Return `view` after `task` was placed."""
    user, project = view.user(task.user), view.project(task.project)
    used = tickets.expected_usage(task, user)
    projects = dict(view.projects)
    if task.project != "default":
        projects[task.project] = replace(project, usage=project.usage + used)
    return replace(view, users={**view.users, task.user: replace(user, usage=user.usage + used)}, projects=projects)


@given(many, views, weights, st.sets(st.sampled_from([0.5, 4.0])))
def test_each_turn_goes_to_the_lowest_ticket_that_a_scan_finds(
    tasks: list[Pending], view: View, weights: Weights, full: set[float]
) -> None:
    shapes = {task.shape for task in tasks if task.cpus in full}
    book = Book()
    book.add(tasks)
    left = [list(lane) for lane in book.lanes.values()]
    policy = FairShare(weights)
    for task in offers(policy.begin(book.lanes, view), no_room_for=list(shapes)):
        lowest = min(policy.score(lane[0], view).total for lane in left)
        assert policy.score(task, view).total == pytest.approx(lowest, abs=1e-6)
        if task.shape in shapes:
            left = [lane for lane in left if lane[0].shape != task.shape]
            continue
        left = [lane[1:] if lane[0].id == task.id else lane for lane in left]
        left = [lane for lane in left if lane]
        view = charged(view, task)
    assert not left


@given(many, views, weights)
def test_each_task_is_offered_exactly_once_if_there_is_room(tasks: list[Pending], view: View, weights: Weights) -> None:
    assert sorted(order(FairShare(weights), tasks, view)) == sorted(task.id for task in tasks)


@given(many, views, weights)
def test_equal_tasks_of_one_user_keep_their_order(tasks: list[Pending], view: View, weights: Weights) -> None:
    book = Book()
    book.add(tasks)
    offered = order(FairShare(weights), tasks, view)
    for lane in book.lanes.values():
        places = [offered.index(task.id) for task in lane]
        assert places == sorted(places)


def test_no_user_starves_if_waiting_has_a_weight() -> None:
    """One user has the lowest priority; the others submit two tasks an hour, with room for one."""
    weights = Weights(waiting_time=0.1, user=1)  # usage weighs nothing: priority alone would shut the last one out
    prios = {"first": OwnerUsage(100), "second": OwnerUsage(90), "last": OwnerUsage(0)}
    ids = itertools.count(2)
    book = Book()
    book.add([samples.pending(1, user="last", queued_at=NOW)])
    for hour in range(24 * 30):
        now = NOW + hour * HOUR
        for user in ("first", "second"):
            book.add([samples.pending(next(ids), user=user, queued_at=now)])
        offered = FairShare(weights).begin(book.lanes, View(now, prios)).pop()
        assert offered is not None
        book.discard([offered.id])
        if offered.id == 1:
            assert hour / 24 > 5  # priority meant something
            return
    raise AssertionError("thirty days were not enough")
