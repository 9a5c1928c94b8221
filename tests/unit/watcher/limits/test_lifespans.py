"""Deadlines of running tasks by their lifespans."""

from __future__ import annotations

from typing import Any

import pytest

from services.watcher.limits.lifespans import Expired, Lifespans
from shared.lifecycle import Intent, TaskStatus
from shared.models.work import Placed
from tests.support import samples

NOW, MONO = samples.NOW, 1000.0


def run(task_id: int = 1, **fields: Any) -> Placed:
    return samples.placed(task_id, **fields)


@pytest.mark.parametrize(
    ("asked", "most", "limit"),
    [(None, None, None), (60.0, None, 60.0), (None, 90.0, 90.0), (60, 90, 60), (120, 90, 90)],
)
def test_the_smaller_of_the_requested_and_the_configured_lifespan_counts(
    asked: float | None, most: float | None, limit: float | None
) -> None:
    assert Lifespans(most).limit(run(lifespan=asked)) == limit


def test_a_task_is_due_once_when_its_time_is_over() -> None:
    lifespans = Lifespans(None)
    lifespans.update([run(lifespan=60.0), run(2, lifespan=90.0)], now=NOW + 10, monotonic=MONO)
    assert lifespans.wait(MONO, most=1000) == 50
    assert lifespans.due(MONO + 49) == []
    assert lifespans.due(MONO + 50) == [Expired(1, 1, 60.0)]
    assert lifespans.due(MONO + 50) == []
    assert lifespans.due(MONO + 80) == [Expired(2, 1, 90.0)]
    assert lifespans.wait(MONO + 80, most=7) == 7


def test_a_task_that_still_runs_is_due_again_after_the_next_update() -> None:
    lifespans = Lifespans(60.0)
    lifespans.update([run()], now=NOW, monotonic=MONO)
    assert lifespans.due(MONO + 60)
    lifespans.update([run()], now=NOW + 61, monotonic=MONO + 61)
    assert lifespans.due(MONO + 61)


def test_no_jump_of_a_clock_ends_a_task_or_keeps_it() -> None:
    lifespans = Lifespans(60.0)
    lifespans.update([run()], now=NOW, monotonic=MONO)
    for jump in (86400.0, -86400.0):
        lifespans.update([run()], now=NOW + 10 + jump, monotonic=MONO + 10)
    assert lifespans.due(MONO + 59) == []
    assert lifespans.due(MONO + 60) == [Expired(1, 1, 60.0)]


def test_a_task_of_the_future_has_all_its_time() -> None:
    lifespans = Lifespans(60.0)
    lifespans.update([run()], now=NOW - 500, monotonic=MONO)
    assert lifespans.wait(MONO, most=1000) == 60


@pytest.mark.parametrize("longer", [True, False])
def test_a_limit_that_is_changed_counts_from_the_same_start(longer: bool) -> None:
    lifespans = Lifespans(None)
    lifespans.update([run(lifespan=60.0)], now=NOW, monotonic=MONO)
    changed = 90.0 if longer else 30.0
    lifespans.update([run(lifespan=changed)], now=NOW + 10, monotonic=MONO + 10)
    assert lifespans.due(MONO + changed - 1) == []
    assert lifespans.due(MONO + changed) == [Expired(1, 1, changed)]
    assert lifespans.due(MONO + 1000) == []


@pytest.mark.parametrize(
    "gone",
    [
        [],
        [run(attempt=2, status=TaskStatus.STARTING)],
        [run(intent=Intent.KILL)],
        [run(intent=Intent.RESCHEDULE)],
    ],
)
def test_a_task_that_ended_or_is_being_stopped_is_not_due(gone: list[Placed]) -> None:
    lifespans = Lifespans(60.0)
    lifespans.update([run()], now=NOW, monotonic=MONO)
    lifespans.update(gone, now=NOW, monotonic=MONO)
    assert lifespans.due(MONO + 1000) == []


def test_the_time_of_a_suspended_task_continues() -> None:
    lifespans = Lifespans(60.0)
    lifespans.update([run(intent=Intent.SUSPEND)], now=NOW, monotonic=MONO)
    assert lifespans.due(MONO + 60)


def test_only_a_new_task_with_a_limit_is_news() -> None:
    lifespans = Lifespans(None)
    assert not lifespans.is_news([run()])
    assert lifespans.is_news([run(lifespan=60.0)])
    lifespans.update([run(lifespan=60.0)], now=NOW, monotonic=MONO)
    assert not lifespans.is_news([run(lifespan=60.0)])
    assert lifespans.is_news([run(attempt=2, lifespan=60.0)])


def test_changes_without_end_leave_no_heap_without_end() -> None:
    lifespans = Lifespans(None)
    for second in range(1000):
        lifespans.update([run(lifespan=60.0 + second)], now=NOW, monotonic=MONO)
    assert len(lifespans._heap) < 200
    assert lifespans.due(MONO + 2000) == [Expired(1, 1, 1059.0)]
