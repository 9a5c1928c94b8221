"""The lifecycle has the transitions of its diagram and no others."""

from __future__ import annotations

import itertools

import pytest

from shared import errors, lifecycle
from shared.lifecycle import TaskStatus

# Repeated on purpose: the table under test must not be compared with itself.
EDGES = {
    ("created", "pending"),
    ("created", "over"),
    ("pending", "starting"),
    ("pending", "over"),
    ("starting", "running"),
    ("starting", "pending"),
    ("starting", "over"),
    ("running", "over"),
    ("running", "pending"),
    ("over", "archived"),
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(TaskStatus, TaskStatus)))
def test_only_the_edges_of_the_diagram_are_allowed(old: TaskStatus, new: TaskStatus) -> None:
    if (old.value, new.value) in EDGES:
        lifecycle.check_transition(old, new)
    else:
        with pytest.raises(errors.InvalidTransition, match=f"no transition from {old.value} to {new.value}"):
            lifecycle.check_transition(old, new)


def test_every_status_is_waiting_placed_or_ended_and_only_one_of_them() -> None:
    parts = (lifecycle.WAITING, lifecycle.PLACED, lifecycle.ENDED)
    assert sorted(itertools.chain(*parts)) == sorted(TaskStatus)
    assert frozenset(TaskStatus) - lifecycle.ENDED == lifecycle.ACTIVE


def test_nothing_leads_back_from_an_end() -> None:
    for status in lifecycle.ENDED:
        assert lifecycle.TRANSITIONS[status] <= lifecycle.ENDED


def test_every_active_status_can_end() -> None:
    for status in lifecycle.ACTIVE:
        assert TaskStatus.OVER in lifecycle.TRANSITIONS[status]
