"""Which of the nodes with room is best: the one that is left with least, so that large tasks keep large gaps."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from services.scheduler import feasibility
from services.scheduler.cluster import NodeState
from shared.store.work import Pending


class BestFit:
    """
    Ready nodes ordered by free cores, then free memory: the first from the needed cores on that also has the memory is the
    tightest fit (best-fit bin packing: Johnson, 1973). Finding and taking cost a binary search, not a look at every node.
    """

    def __init__(self, nodes: Iterable[NodeState]) -> None:
        self._nodes = sorted((node for node in nodes if node.ready), key=_room)

    def find(self, task: Pending) -> NodeState | None:
        """The best node for `task`; None where none has room."""
        start = bisect.bisect_left(self._nodes, task.cpus - feasibility.EPSILON, key=_free_cpus)
        for position in range(start, len(self._nodes)):
            node = self._nodes[position]
            if feasibility.fits(task, node):
                return node
        return None

    def take(self, task: Pending, node: NodeState) -> None:
        """`task` goes to `node`: what it needs is no longer free there."""
        del self._nodes[self._position(node)]
        node.free_cpus -= task.cpus
        node.free_memory -= task.memory
        bisect.insort(self._nodes, node, key=_room)

    def _position(self, node: NodeState) -> int:
        return bisect.bisect_left(self._nodes, _room(node), key=_room)


def _room(node: NodeState) -> tuple[float, int, str]:
    return node.free_cpus, node.free_memory, node.name


def _free_cpus(node: NodeState) -> float:
    return node.free_cpus
