"""Requests that did not fit cover those that need as much or more."""

from __future__ import annotations

from hypothesis import given

from services.scheduler.placement import feasibility
from services.scheduler.placement.infeasible import InfeasibleRequests
from services.scheduler.placement.labels import LabelIndex
from services.scheduler.placement.node_state import NodeState
from shared.models.work import Pending
from tests.unit.scheduler.placement.strategies import nodes, queues


@given(queues, nodes())
def test_a_covered_request_has_no_room(waiting: list[Pending], states: list[NodeState]) -> None:
    infeasible = InfeasibleRequests(LabelIndex(states))
    for task in waiting:
        has_room = any(feasibility.fits(task, node) for node in states)
        if infeasible.covers(task):
            assert not has_room
        elif not has_room:
            infeasible.add(task)
            assert infeasible.covers(task)
