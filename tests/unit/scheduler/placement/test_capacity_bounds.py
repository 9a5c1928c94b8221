"""Upper bounds on free capacity reject nothing that would fit."""

from __future__ import annotations

from hypothesis import given

from services.scheduler.placement import capacity_bounds, feasibility
from services.scheduler.placement.capacity_bounds import CapacityBounds
from services.scheduler.placement.labels import LabelIndex
from services.scheduler.placement.node_state import NodeState
from shared.models.work import Pending
from tests.unit.scheduler.placement.strategies import nodes, queues


@given(queues, nodes())
def test_bounds_rule_out_only_tasks_without_room_and_all_of_them_except_for_ports_and_avoided_nodes(
    waiting: list[Pending], states: list[NodeState]
) -> None:
    ready = [node for node in states if node.ready]
    bounds = CapacityBounds(LabelIndex(ready), capacity_bounds.free)
    for task in waiting:
        able = [node for node in ready if feasibility.fits(task, node)]
        if bounds.rule_out(task):
            assert not able
        elif able:
            able[0].allocate(task)
            bounds.note_taken()
        else:
            bounds.note_infeasible(task)  # too high, perhaps, after what was taken
            assert bounds.rule_out(task) or task.ports or task.avoid
