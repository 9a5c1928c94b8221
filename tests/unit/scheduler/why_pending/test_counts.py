"""Counts of pending tasks by pending reason."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest

from services.scheduler.placement.node_state import IN_MAINTENANCE, NodeState
from services.scheduler.queue.book import Book
from services.scheduler.why_pending import counts
from services.scheduler.why_pending.counts import COUNTED, Count
from shared.models.pending_reason import PendingReason
from shared.models.work import Pending
from tests.support import samples

ROOT = Path(__file__).parents[4]
FULL = samples.node(free_cpus=0.0)


def found(
    *tasks: Pending,
    nodes: Sequence[NodeState] = (FULL,),
    unplaced: Collection[str] = ("s",),
    hold: PendingReason | None = None,
    limits: Mapping[int, int] | None = None,
    placed: Mapping[int, int] | None = None,
) -> dict[PendingReason, Count]:
    """Return the counts that are not 0."""
    book = Book()
    book.limits.update(limits or {})
    book.add(tasks)
    every = counts.count(book, nodes, unplaced=unplaced, placed=placed or {}, hold=lambda task: hold)
    assert every.keys() == set(COUNTED), "metrics export every reason from the start"
    return {reason: count for reason, count in every.items() if count.tasks}


def task(task_id: int = 1, **fields: object) -> Pending:
    return samples.pending(task_id, **{"user": "alice", "shape": "s", "cpus": 2.0, "queued_at": 100.0, **fields})


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([FULL], PendingReason.NO_ROOM),
        ([samples.node("a", free_cpus=1.5), samples.node("b", free_cpus=1.5)], PendingReason.FRAGMENTED),
        ([samples.node(cpus=1.0)], PendingReason.NEVER),
        ([], PendingReason.NO_NODES),
        ([samples.node(ready=False, reason="it does not answer")], PendingReason.NOT_READY),
        ([samples.node(ready=False, reason=IN_MAINTENANCE)], PendingReason.MAINTENANCE),
        ([samples.node(cpus=1.0, ready=False, reason="it does not answer")], PendingReason.NEVER),
    ],
)
def test_a_shape_that_no_node_took_is_counted_by_the_reason_of_the_nodes(
    nodes: list[NodeState], reason: PendingReason
) -> None:
    assert found(task(), nodes=nodes) == {reason: Count(1, 100.0)}


def test_a_task_that_was_not_offered_yet_is_counted_as_waiting_for_its_turn() -> None:
    assert found(task(), unplaced=()) == {PendingReason.TURN: Count(1, 100.0)}


def test_a_full_quota_or_array_comes_before_the_reason_of_the_nodes() -> None:
    assert found(task(), hold=PendingReason.USER_QUOTA) == {PendingReason.USER_QUOTA: Count(1, 100.0)}
    child = task(parent=7)
    assert found(child, limits={7: 2}, placed={7: 2}) == {PendingReason.ARRAY_LIMIT: Count(1, 100.0)}
    assert found(child, limits={7: 0}) == {PendingReason.ARRAY_SUSPENDED: Count(1, 100.0)}
    assert found(child, limits={7: 2}, placed={7: 1}) == {PendingReason.NO_ROOM: Count(1, 100.0)}


def test_a_task_that_is_not_offered_is_counted_by_what_it_waits_for() -> None:
    gated, delayed = task(2, waiting_on=(1,)), task(3, not_before=1e12)
    assert found(gated, delayed) == {PendingReason.DEPENDENCY: Count(1, 100.0), PendingReason.DELAYED: Count(1, 100.0)}


def test_tasks_with_one_reason_are_counted_together_from_the_oldest() -> None:
    tasks = [task(1, queued_at=50.0), task(2, queued_at=70.0), task(3, user="bob", queued_at=20.0)]
    assert found(*tasks) == {PendingReason.NO_ROOM: Count(3, 20.0)}


def test_alerts_name_only_reasons_that_are_counted() -> None:
    patterns = re.findall(r'_pending[a-z_]*\{reason=~"([^"]+)"', (ROOT / "deploy" / "alerts.yml").read_text())
    assert patterns, "an alert is about tasks that wait though there is room"
    assert {reason for pattern in patterns for reason in pattern.split("|")} <= set(COUNTED)
