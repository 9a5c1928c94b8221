"""Find nodes for one task after another, skipping tasks that are known not to fit: pure."""

from __future__ import annotations

from services.scheduler.placement import capacity_bounds
from services.scheduler.placement.capacity_bounds import CapacityBounds
from services.scheduler.placement.infeasible import InfeasibleRequests
from services.scheduler.placement.labels import LabelIndex
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.ranking import Ranking
from shared.models.work import Pending


class Search:
    """A search among all nodes of a pass, or all but the reserved one."""

    def __init__(self, ranked: Ranking, *, without: NodeState | None = None) -> None:
        labels = ranked.labels
        if without is not None:
            labels = LabelIndex([node for node in labels.nodes if node is not without])
        self._ranked = ranked
        self._without = without
        self._bounds = CapacityBounds(labels, capacity_bounds.free)
        self._infeasible = InfeasibleRequests(labels)

    def find(self, task: Pending) -> NodeState | None:
        """Return the best node with room for `task`; None if none has any."""
        if self._bounds.rule_out(task) or self._infeasible.covers(task):
            return None
        node = self._ranked.find(task, without=self._without)
        if node is None:
            self._infeasible.add(task)
            self._bounds.note_infeasible(task)
        return node

    def note_taken(self) -> None:
        """Record that a node has less free than before."""
        self._bounds.note_taken()


class EmptyNodes:
    """The nodes of a pass as if they were empty."""

    def __init__(self, ranked: Ranking) -> None:
        self._ranked = ranked
        self._bounds = CapacityBounds(ranked.labels, capacity_bounds.whole)
        self._infeasible = InfeasibleRequests(ranked.labels)

    def could_take(self, task: Pending) -> bool:
        """Check whether one of the nodes would have room for `task` if it were empty."""
        if self._bounds.rule_out(task) or self._infeasible.covers(task):
            return False
        if self._ranked.could_ever_take(task):
            return True
        self._infeasible.add(task)
        return False
