"""Dependencies between tasks: by hand, and for any tasks and ends."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.lifecycle import TaskStatus
from shared.models.task import Dependencies
from shared.rules import dependencies
from shared.rules.dependencies import End, Waiting

OK, FAILED, NONE, GONE = End(0), End(3), End(None), End(None, known=False)


@pytest.mark.parametrize(
    ("kind", "end", "reason"),
    [
        ("ok", OK, None),
        ("ok", FAILED, "task 1 ended with exit code 3; it had to end with 0"),
        ("ok", NONE, "task 1 ended without an exit code; it had to end with 0"),
        ("ok", GONE, "task 1 was deleted before its end was checked"),
        ("any", OK, None),
        ("any", FAILED, None),
        ("any", NONE, None),
        ("any", GONE, None),
        ("not_ok", OK, "task 1 ended with exit code 0; it had to end in another way"),
        ("not_ok", FAILED, None),
        ("not_ok", NONE, None),
        ("not_ok", GONE, "task 1 was deleted before its end was checked"),
    ],
)
def test_what_each_end_means(kind: str, end: End, reason: str | None) -> None:
    expected = ([], reason) if reason else ([1], None)
    assert dependencies.check(Dependencies(**{kind: [1]}), [1], {1: end}) == expected


def test_an_active_dependency_is_waited_for() -> None:
    assert dependencies.check(Dependencies(ok=[1], any=[2]), [1, 2], {2: FAILED}) == ([2], None)
    assert dependencies.check(Dependencies(ok=[1], any=[2]), [1, 2], {}) == ([], None)


def test_one_impossible_dependency_is_enough() -> None:
    satisfied, reason = dependencies.check(Dependencies(ok=[1], any=[2]), [1, 2], {1: FAILED, 2: OK})
    assert (satisfied, reason) == ([], "task 1 ended with exit code 3; it had to end with 0")


def test_a_task_named_in_two_ways_has_to_satisfy_both() -> None:
    assert dependencies.check(Dependencies(ok=[1], any=[1]), [1], {1: FAILED})[1] is not None
    assert dependencies.check(Dependencies(ok=[1], any=[1]), [1], {1: OK}) == ([1], None)


def waits(task_id: int, **kinds: list[int]) -> Waiting:
    depends = Dependencies(**kinds)
    return Waiting(task_id, 0, TaskStatus.PENDING, depends, tuple(depends.ids))


def test_a_chain_ends_from_its_first_to_its_last() -> None:
    chain = [waits(number, ok=[number - 1]) for number in range(2, 1002)]
    random.Random(1).shuffle(chain)
    found = dependencies.resolve(chain, {1: FAILED})
    assert found.satisfied == {}
    assert sorted(found.impossible) == list(range(2, 1002))
    assert found.impossible[1001] == "task 1000 ended without an exit code; it had to end with 0"


def test_a_task_that_waits_for_a_failure_is_released_by_it() -> None:
    waiting = [waits(2, ok=[1]), waits(3, not_ok=[2]), waits(4, any=[2, 9])]
    found = dependencies.resolve(waiting, {1: FAILED})
    assert (found.satisfied, list(found.impossible)) == ({3: [2], 4: [2]}, [2])


# --- any tasks ---------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> list[Waiting]:
    """Tasks 1 to n, each of which may depend on earlier ones, as submissions allow."""
    tasks = []
    for number in range(1, draw(st.integers(2, 25)) + 1):
        earlier = st.sets(st.integers(1, number - 1), max_size=4) if number > 1 else st.just(set[int]())
        ok, any_, not_ok = (sorted(draw(earlier)) for _ in range(3))
        tasks.append(waits(number, ok=ok, any=any_, not_ok=[one for one in not_ok if one not in ok]))
    return tasks


@given(graphs(), st.randoms(use_true_random=False))
def test_every_task_comes_to_its_end(graph: list[Waiting], chance: random.Random) -> None:
    left = {task.id: task for task in graph}
    ends: dict[int, End] = {}
    while left:
        found = dependencies.resolve([task for task in left.values() if task.waiting_on], ends)
        for task_id, reason in found.impossible.items():
            assert reason
            ends[task_id] = End(None)
            del left[task_id]
        for task_id, ids in found.satisfied.items():
            task = left[task_id]
            rest = tuple(one for one in task.waiting_on if one not in ids)
            left[task_id] = Waiting(task_id, 0, task.status, task.depends, rest)
        free = [task_id for task_id, task in left.items() if not task.waiting_on]
        assert free or found.impossible or not left, "nobody can go on"
        for task_id in chance.sample(free, min(len(free), 3)):
            _check_may_run(left.pop(task_id), ends)
            ends[task_id] = chance.choice([OK, FAILED, NONE])


def _check_may_run(task: Waiting, ends: dict[int, End]) -> None:
    """Check the definition itself."""
    assert all(ends[one].exit_code == 0 for one in task.depends.ok)
    assert all(one in ends for one in task.depends.any)
    assert all(ends[one].exit_code != 0 for one in task.depends.not_ok)
