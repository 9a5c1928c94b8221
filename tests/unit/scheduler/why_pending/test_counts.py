"""Why tasks wait, as metrics count it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pytest

from services.scheduler.cluster import IN_MAINTENANCE
from services.scheduler.placement.node_state import NodeState
from services.scheduler.queue.book import Book
from services.scheduler.why_pending import counts
from services.scheduler.why_pending.counts import Wait, Waiting
from shared.models.work import Pending
from tests.support import samples

FULL = samples.node(free_cpus=0.0)


def found(
    *tasks: Pending,
    nodes: Sequence[NodeState] = (FULL,),
    refused: Collection[str] = ("s",),
    held: str = "nobody",
    limits: Mapping[int, int] | None = None,
    placed: Mapping[int, int] | None = None,
) -> dict[Wait, Waiting]:
    """What there is to be counted, reasons without tasks left out."""
    book = Book()
    book.limits.update(limits or {})
    book.add(tasks)
    sorted_ = counts.sort(book, nodes, refused=refused, placed=placed or {}, is_held=lambda task: task.user == held)
    assert sorted_.keys() == set(Wait), "every reason is named, so that each is shown from the start"
    return {wait: waiting for wait, waiting in sorted_.items() if waiting.count}


def task(task_id: int = 1, **fields: object) -> Pending:
    return samples.pending(task_id, **{"user": "alice", "shape": "s", "cpus": 2.0, "queued_at": 100.0, **fields})


@pytest.mark.parametrize(
    ("nodes", "wait"),
    [
        ([FULL], Wait.NO_ROOM),
        ([samples.node("a", free_cpus=1.5), samples.node("b", free_cpus=1.5)], Wait.FRAGMENTED),
        ([samples.node(cpus=1.0)], Wait.NEVER),
        ([], Wait.NOT_READY),
        ([samples.node(ready=False, reason="it does not answer")], Wait.NOT_READY),
        ([samples.node(ready=False, reason=IN_MAINTENANCE)], Wait.MAINTENANCE),
        ([samples.node(cpus=1.0, ready=False, reason="it does not answer")], Wait.NEVER),
    ],
)
def test_what_the_nodes_refused_waits_for_what_they_lack(nodes: list[NodeState], wait: Wait) -> None:
    assert found(task(), nodes=nodes) == {wait: Waiting(1, 100.0)}


def test_what_was_not_offered_yet_waits_for_its_turn() -> None:
    assert found(task(), refused=()) == {Wait.TURN: Waiting(1, 100.0)}


def test_a_full_quota_and_a_full_array_come_before_what_nodes_say() -> None:
    assert found(task(), held="alice") == {Wait.QUOTA: Waiting(1, 100.0)}
    child = task(parent=7)
    assert found(child, limits={7: 2}, placed={7: 2}) == {Wait.ARRAY: Waiting(1, 100.0)}
    assert found(child, limits={7: 2}, placed={7: 1}) == {Wait.NO_ROOM: Waiting(1, 100.0)}


def test_what_is_not_offered_at_all_is_counted_by_what_it_waits_for() -> None:
    gated, delayed = task(2, waiting_on=(1,)), task(3, not_before=1e12)
    assert found(gated, delayed) == {Wait.DEPENDENCY: Waiting(1, 100.0), Wait.DELAY: Waiting(1, 100.0)}


def test_tasks_of_one_reason_are_counted_together_from_the_oldest() -> None:
    tasks = [task(1, queued_at=50.0), task(2, queued_at=70.0), task(3, user="bob", queued_at=20.0)]
    assert found(*tasks) == {Wait.NO_ROOM: Waiting(3, 20.0)}
