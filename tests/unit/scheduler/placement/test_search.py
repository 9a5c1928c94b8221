"""The nodes that could ever take a task."""

from __future__ import annotations

from hypothesis import given

from services.scheduler.placement import feasibility
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.ranking import BestFit
from services.scheduler.placement.search import EmptyNodes
from shared.models.work import Pending
from tests.unit.scheduler.placement.strategies import nodes, queues


@given(queues, nodes())
def test_what_is_possible_is_what_a_node_could_ever_take(waiting: list[Pending], states: list[NodeState]) -> None:
    empty = EmptyNodes(BestFit(states))
    for task in waiting:
        could = any(node.ready and feasibility.could_ever_fit(task, node) for node in states)
        assert empty.could_take(task) is could
