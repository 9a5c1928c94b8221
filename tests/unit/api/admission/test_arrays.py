"""Arrays: their rules, and the children made from them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.admission import arrays as asked
from services.api.wire.submission import TaskIn
from services.scheduler.start import run_spec
from shared.lifecycle import Ending, Intent, TaskStatus
from shared.models.task import Array, Member, Place, Task
from shared.rules import arrays
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from tests.support import samples

NOW = samples.NOW


def made(values: Any, **fields: Any) -> Array | None:
    return asked.array(sent(values, **fields), Settings(max_array=10_000_000))[0]


def sent(values: Any, **fields: Any) -> TaskIn:
    return TaskIn.model_validate(samples.submission(**{"requirements.array": {"values": values, **fields}}))


def refusals(values: Any, *, most: int = 100_000) -> list[str]:
    return [problem.rule for problem in asked.array(sent(values), Settings(max_array=most))[1]]


def parent(values: str = "1:10:1", **fields: Any) -> Task:
    array = made(values)
    assert array is not None
    array.first_id = 8
    for name in ("made", "killed", "over"):
        if name in fields:
            setattr(array, name, fields.pop(name))
    return samples.task(7, array=array, **fields)


# --- arrays as sent ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "indices"),
    [
        ("1:3:1", [1, 2, 3]),
        ("1:3", [1, 2, 3]),
        ("3", [1, 2, 3]),
        (3, [1, 2, 3]),
        (1, [1]),
        ("0:0", [0]),
        ("2:20:3", [2, 5, 8, 11, 14, 17, 20]),
        ("2:19:3", [2, 5, 8, 11, 14, 17]),
        ("5:6:100", [5]),
        (" 4:6 ", [4, 5, 6]),
        ("007:010", [7, 8, 9, 10]),
        ("999999999999998:999999999999999", [999999999999998, 999999999999999]),
        ("3,7-9,20:40:5", [3, 7, 8, 9, 20, 25, 30, 35, 40]),
        ("9, 3", [3, 9]),
        ("7-9", [7, 8, 9]),
        ("3-3", [3]),
        ("0,5", [0, 5]),
    ],
)
def test_the_indices_of_an_array(values: Any, indices: list[int]) -> None:
    array = made(values)
    assert array is not None
    assert (list(array.indices), array.count) == (indices, len(indices))
    assert refusals(values) == []


@pytest.mark.parametrize("values", [None, ""])
def test_without_values_there_is_no_array(values: Any) -> None:
    assert (made(values), refusals(values)) == (None, [])


_FORM = "must be start:end:step, start:end, how many, or a list like 3,7-9,20:40:5, in whole numbers from 0 to 999999999999999"


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ("1:1000000000:1", "makes 1000000000 tasks, at most 100000 are allowed"),
        ("1:100001", "makes 100001 tasks, at most 100000 are allowed"),
        (10**14, "makes 100000000000000 tasks, at most 100000 are allowed"),
        ("1:10:0", "the step must be at least 1"),
        ("10:1:1", "the end must not be before the start"),
        ("2:1", "the end must not be before the start"),
        (0, "must be at least 1"),
        ("0", "must be at least 1"),
        *(
            (values, _FORM)
            for values in ("-1:5", "1:-5", "1:10:-1", -3, "a", "1:b", "1.5", "1:2:3:4", ":", "1:", ":5", "1::2", "1e3")
        ),
        *(
            (values, _FORM)
            for values in ("1 2", "1:\n2", "١", "²", "9" * 16, "1" * 100_000, 10**30, "0x10", "1_0", "[1]")
        ),
    ],
)
def test_an_invalid_array_is_refused_with_its_rule(values: Any, rule: str) -> None:
    assert refusals(values) == [rule]


@given(st.text(max_size=40) | st.integers())
def test_whatever_is_sent_as_values_is_an_array_or_is_refused(values: Any) -> None:
    found = refusals(values)
    array = made(values) if not found else None
    assert found or array is None or (0 < array.count <= 100_000 and array.indices[-1] <= array.end)


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(1, 10**4))
def test_the_indices_are_those_from_start_to_end_in_steps(start: int, more: int, step: int) -> None:
    array = made(f"{start}:{start + more}:{step}")
    assert array is not None
    assert array.indices == range(start, start + more + 1, step)


@pytest.mark.parametrize(("value", "limit"), [("0", None), ("", None), ("1", 1), ("500", 500)])
def test_the_limit_of_an_array(value: str, limit: int | None) -> None:
    assert asked.parse_limit(value) == limit


@pytest.mark.parametrize("value", ["-1", "1.5", "many", "9" * 10, "١", " 1"])
def test_an_invalid_limit_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must be a number of tasks"):
        asked.parse_limit(value)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("3", [(3, 3)]),
        ("3-7,9", [(3, 7), (9, 9)]),
        ("9,3-7", [(3, 7), (9, 9)]),
        ("1-3,2-5,6", [(1, 6)]),
        ("1-10,2-3", [(1, 10)]),
        (" 4 , 6-6 ", [(4, 4), (6, 6)]),
    ],
)
def test_parts_of_an_array(text: str, ranges: list[tuple[int, int]]) -> None:
    assert asked.parse_ranges(text) == ranges


@pytest.mark.parametrize("text", ["", "7-3", "a", "1-", "-1", "1--2", "1,,2", "1-2-3", ",".join(["1"] * 1001)])
def test_an_invalid_part_of_an_array_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        asked.parse_ranges(text)


# --- children ----------------------------------------------------------------------------------------


def test_children_have_ids_and_indices_in_order_and_all_else_from_their_parent() -> None:
    of = parent("2:20:3", tags=["a"], notify_email=True, told=-1, waiting_on=[])
    documents = arrays.documents(of, range(2, 5), now=NOW + 9)
    children = [Task.model_validate(document) for document in documents]
    assert [(child.id, child.member) for child in children] == [
        (8 + position, Member(parent=7, index=2 + 3 * position, first=2, last=20, step=3)) for position in (2, 3, 4)
    ]
    for child in children:
        assert (child.status, child.status_at, child.queued_at, child.submitted_at) == ("pending", NOW + 9, NOW, NOW)
        assert (child.spec, child.user, child.shape, child.submission) == (of.spec, of.user, of.shape, of.submission)
        assert (child.array, child.told, child.intent) == (None, None, None)


def test_children_of_a_killed_range_are_made_killed() -> None:
    part = arrays.documents(parent(killed=[(3, 4)]), range(5), now=NOW)
    assert [document["intent"] for document in part] == [None, None, Intent.KILL, Intent.KILL, None]
    whole = arrays.documents(parent(intent=Intent.KILL), range(2), now=NOW)
    assert [document["intent"] for document in whole] == [Intent.KILL, Intent.KILL]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, (TaskStatus.PENDING, None, None, None, "waits for its turn in the array 7")),
        ({"status": TaskStatus.CREATED}, (TaskStatus.CREATED, None, None, None, "waits for its turn in the array 7")),
        ({"intent": Intent.KILL}, (TaskStatus.PENDING, Intent.KILL, None, None, "waits for its turn in the array 7")),
        (
            {"status": TaskStatus.OVER, "ending": Ending.KILLED, "exit_code": 137, "reason": "killed; 1 of 10 …"},
            (TaskStatus.OVER, None, Ending.KILLED, 137, "killed before it was started"),
        ),
        (
            {"status": TaskStatus.OVER, "ending": Ending.DEPENDENCY_FAILED, "reason": "task 3 ended …"},
            (TaskStatus.OVER, None, Ending.DEPENDENCY_FAILED, None, "task 3 ended …"),
        ),
    ],
)
def test_a_child_that_does_not_exist_yet_is_shown_from_its_parent(
    fields: dict[str, Any], shown: tuple[Any, ...]
) -> None:
    child = arrays.unmade(parent(**fields), 4)
    assert (child.id, child.status, child.intent, child.ending, child.exit_code, child.reason) == (12, *shown)


@pytest.mark.parametrize(
    ("failed", "failures", "said"),
    [
        ([], 0, (0, None)),
        ([4, 17], 2, (1, "2 of 10 children failed: 4, 17")),
        ([4, 17], 5, (1, "5 of 10 children failed: 4, 17 …")),
    ],
)
def test_how_an_array_ended(failed: list[int], failures: int, said: tuple[int, str | None]) -> None:
    assert arrays.ending(arrays.array_of(parent()), failed, failures=failures) == said


def test_a_child_has_a_directory_below_its_parents(tmp_path: Any) -> None:
    directories = TaskDirectories(tmp_path)
    child = arrays.child(parent("5:9"), 2, now=NOW)
    assert child.place == Place(7, 7)
    assert directories.path(child.place) == tmp_path / "tasks" / "0" / "7" / "7"
    assert directories.relative(child.place) == "tasks/0/7/7"
    assert directories.path(samples.task(7).place) == tmp_path / "tasks" / "0" / "7"


def test_a_child_gets_its_index_in_its_environment() -> None:
    child = arrays.child(parent("2:20:3"), 1, now=NOW)
    run = run_spec.run_of(child, node="n1", directory="/x", settings=Settings())
    told = {"ID": "5", "FIRST": "2", "LAST": "20", "STEP": "3"}
    assert run.environment == {
        **{f"{prefix}_TASK_{name}": value for prefix in ("GOGOCKER", "GODOCKER") for name, value in told.items()},
        "GODOCKER_TASK_COUNT": "7",
        "GODOCKER_TASK_IS_LAST": "0",
    }
    assert run_spec.run_of(samples.task(), node="n1", directory="/x", settings=Settings()).environment == {}


@pytest.mark.parametrize(
    ("asked", "count"), [("1:3", 3), ("0:10:4", 3), ("5:5", 1), ("2:20:3", 7), ("3,7-9,20:40:5", 9)]
)
def test_exactly_one_child_sees_itself_as_the_last(asked: str, count: int) -> None:
    whole = parent(asked)
    told = [
        run_spec.run_of(
            arrays.child(whole, position, now=NOW), node="n1", directory="/x", settings=Settings()
        ).environment
        for position in range(count)
    ]
    assert [one["GODOCKER_TASK_IS_LAST"] for one in told] == ["0"] * (count - 1) + ["1"]
    assert {one["GODOCKER_TASK_COUNT"] for one in told} == {str(count)}


# --- lists of indices ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ("3,3", "the ranges 3 and 3 must not overlap"),
        ("1-5,5-9", "the ranges 1:5:1 and 5:9:1 must not overlap"),
        ("1:9:4,3", "the ranges 1:9:4 and 3 must not overlap"),
        ("3,", _FORM),
        (",3", _FORM),
        ("3,7-", _FORM),
        ("3,-7", _FORM),
        ("3,9-7", "the end must not be before the start"),
        ("3,1:9:0", "the step must be at least 1"),
        ("1,3-1000000", "makes 999999 tasks, at most 100000 are allowed"),
        (",".join(map(str, range(2000))), "must be at most 1000 indices and ranges"),
    ],
)
def test_an_invalid_list_is_refused_with_its_rule(values: str, rule: str) -> None:
    assert refusals(values) == [rule]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20), st.integers(1, 5)), min_size=1, max_size=8))
def test_a_list_is_the_indices_of_its_ranges_and_is_shown_as_it_can_be_sent(parts: list[tuple[int, int, int]]) -> None:
    begin, text, expected = 0, [], []
    for gap, more, step in parts:
        first = begin + gap
        one = range(first, first + more + 1, step)
        text.append(f"{first}:{first + more}:{step}")
        expected += one
        begin = one[-1] + 1
    array = made(",".join(text))
    assert array is not None
    indices = array.indices
    assert ([*indices], len(indices), array.count) == (expected, len(expected), len(expected))
    assert (indices[0], indices[-1]) == (expected[0], expected[-1])
    assert indices[1:3] == expected[1:3] or isinstance(indices, range)
    with pytest.raises(IndexError):
        indices[len(expected)]
    again = made(array.values)
    assert again is not None
    assert [*again.indices] == expected
    assert Array.model_validate(array.model_dump()) == array


def test_children_of_a_list_keep_their_indices() -> None:
    array = made("3,7-9")
    assert array is not None
    parent = samples.task(10, array=array.model_copy(update={"first_id": 11}))
    children = [arrays.child(parent, position, now=1.0) for position in range(4)]
    assert [(child.id, child.member.index) for child in children if child.member] == [
        (11, 3),
        (12, 7),
        (13, 8),
        (14, 9),
    ]
    assert [(child.member.first, child.member.last, child.member.step) for child in children[:1] if child.member] == [
        (3, 9, 1)
    ]
