"""Find a node for one task after another without asking all nodes again what they have refused already: pure."""

from __future__ import annotations

from services.scheduler.placement import capacity_bounds
from services.scheduler.placement.capacity_bounds import Room
from services.scheduler.placement.infeasible import Refusals
from services.scheduler.placement.labels import LabelIndex
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.ranking import Ranking
from shared.models.work import Pending


class Search:
    """Among all nodes of a pass, or all but the one that is kept for somebody else."""

    def __init__(self, ranked: Ranking, *, without: NodeState | None = None) -> None:
        labels = ranked.labels
        if without is not None:
            labels = LabelIndex([node for node in labels.nodes if node is not without])
        self._ranked = ranked
        self._without = without
        self._room = Room(labels, capacity_bounds.free)
        self._refusals = Refusals(labels)

    def find(self, task: Pending) -> NodeState | None:
        """The best node with room for `task`; None where none has any."""
        if self._room.lacks(task) or self._refusals.covers(task):
            return None
        node = self._ranked.find(task, without=self._without)
        if node is None:
            self._refusals.add(task)
            self._room.note_refused(task)
        return node

    def note_taken(self) -> None:
        """A node has less free than before."""
        self._room.note_taken()


class Possible:
    """Which tasks could have room on one of the nodes if these were empty."""

    def __init__(self, ranked: Ranking) -> None:
        self._ranked = ranked
        self._room = Room(ranked.labels, capacity_bounds.whole)
        self._never = Refusals(ranked.labels)

    def holds(self, task: Pending) -> bool:
        if self._room.lacks(task) or self._never.covers(task):
            return False
        if self._ranked.could_ever_take(task):
            return True
        self._never.add(task)
        return False
