"""Nodes in maintenance."""

from __future__ import annotations

import pytest

from services.scheduler.cluster import Cluster
from services.scheduler.placement import planning
from services.scheduler.policies.fifo import FifoPass
from services.scheduler.queue.book import Book
from services.scheduler.why_pending.node_verdicts import NodeReasons
from tests.support import samples


def cluster(*names: str) -> Cluster:
    made = Cluster()
    made.observe([samples.report(name) for name in names])
    return made


@pytest.mark.parametrize(
    ("maintained", "ready"),
    [((), {"n1", "n2"}), (("n1",), {"n2"}), (("all",), set()), (("n1", "n2"), set()), (("gone",), {"n1", "n2"})],
)
def test_a_node_in_maintenance_is_not_ready(maintained: tuple[str, ...], ready: set[str]) -> None:
    made = cluster("n1", "n2")
    made.maintain(maintained)
    states = {state.name: state for state in made.snapshot()}
    assert {name for name, state in states.items() if state.ready} == ready
    assert {state.reason for state in states.values() if not state.ready} <= {"in maintenance"}


def test_nothing_is_planned_in_maintenance_and_the_reason_says_so() -> None:
    made = cluster("n1")
    made.maintain(["all"])
    book = Book()
    book.add([samples.pending()])
    plan = planning.plan(FifoPass(book.lanes), made.snapshot(), limit=10)
    assert plan.placements == []
    assert "n1 is not ready (in maintenance)" in NodeReasons(made.snapshot()).sentence(samples.pending())
    made.maintain([])
    assert len(planning.plan(FifoPass(book.lanes), made.snapshot(), limit=10).placements) == 1


def test_only_an_end_of_maintenance_is_news() -> None:
    made = cluster("n1")
    assert not made.maintain(["n1"])
    assert not made.maintain(["n1", "all"])
    assert made.maintain(["n1"])
    assert made.maintain([])
    assert not made.maintain([])


def test_what_runs_on_a_node_in_maintenance_goes_on_holding_its_room() -> None:
    made = cluster("n1")
    made.begin_audit()
    made.end_audit([samples.placed(node="n1")])
    made.maintain(["n1"])
    (state,) = made.snapshot()
    assert state.free_cpus == state.cpus - 1
