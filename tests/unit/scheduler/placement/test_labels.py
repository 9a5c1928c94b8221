"""The index of labels finds the nodes that a scan of all finds."""

from __future__ import annotations

from hypothesis import given

from services.scheduler.placement.labels import LabelIndex, matches
from services.scheduler.placement.node_state import NodeState
from shared.models.work import Pending
from tests.unit.scheduler.placement.strategies import nodes, tasks


@given(tasks, nodes())
def test_the_index_of_labels_finds_the_nodes_that_a_scan_finds(task: Pending, states: list[NodeState]) -> None:
    index = LabelIndex(states)
    matching = [node for node in states if matches(task.labels, node)]
    assert list(index.matching(task.labels)) == matching
    assert list(index.matching(task.labels)) == matching  # and the second time
