"""Selectors: the tasks that people name in few characters."""

from __future__ import annotations

from typing import Any

import pytest

from godocker_client import errors, selectors
from godocker_client.selectors import LAST, Children


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (["12"], [12]),
        (["1,3,5-8"], [1, 3, 5, 6, 7, 8]),
        (["1", "2"], [1, 2]),
        (["7[3-5]"], [Children(7, (3, 4, 5))]),
        (["7[1,4-6:2]", "9"], [Children(7, (1, 4, 6)), 9]),
        (["7.3"], [Children(7, (3,))]),
        (["last"], [LAST]),
        (["last,4"], [LAST, 4]),
    ],
)
def test_what_a_selector_names(texts: list[str], named: list[Any]) -> None:
    assert selectors.parse(texts) == named


@pytest.mark.parametrize(
    "text",
    ["x", "-1", "5-3", "7[", "7[]", "7[a]", "1..3", "1-99999999999999", "7[1-99999999999]", "٣", "7.", "1;ls", "$(id)"],
)
def test_what_names_no_task_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(errors.InvalidTask):
        selectors.parse([text])


def parent(values: str, count: int) -> dict[str, Any]:
    return {"id": 7, "requirements": {"array": {"values": values, "first_id": 8, "nb_tasks": count}}}


def test_indices_of_an_array_become_the_ids_of_its_children() -> None:
    assert selectors.children_ids(parent("1:5:1", 5), [1, 5]) == [8, 12]
    assert selectors.children_ids(parent("0:20:5", 5), [10, 20]) == [10, 12]
    assert selectors.children_ids(parent("3,7-9", 4), [3, 9]) == [8, 11]


def test_an_index_that_an_array_does_not_have_is_named() -> None:
    with pytest.raises(errors.InvalidTask, match="no child with the index 6"):
        selectors.children_ids(parent("1:5:1", 5), [2, 6])
    with pytest.raises(errors.InvalidTask, match="task 7 is not an array"):
        selectors.children_ids(parent("", 0), [1])
