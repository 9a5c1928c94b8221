"""Nodes that could take a task if they were empty."""

from __future__ import annotations

from hypothesis import given

from services.scheduler.placement import feasibility
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.ranking import BestFit
from services.scheduler.placement.search import EmptyNodes
from shared.models.work import Pending
from tests.unit.scheduler.placement.strategies import nodes, queues


@given(queues, nodes())
def test_empty_nodes_could_take_a_task_if_one_of_them_could(waiting: list[Pending], states: list[NodeState]) -> None:
    empty = EmptyNodes(BestFit(states))
    for task in waiting:
        could = any(node.ready and feasibility.could_ever_fit(task, node) for node in states)
        assert empty.could_take(task) is could
