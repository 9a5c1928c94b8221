"""Upper bounds on the capacity of nodes, to reject a task without comparing it with each node: pure."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable

from services.scheduler.placement.labels import Condition, LabelIndex
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.reservation import EPSILON
from shared.models.work import Pending

#: Cores, memory in bytes, number of GPUs.
Sizes = tuple[float, int, int]


def free(node: NodeState) -> Sizes:
    return node.free_cpus, node.free_memory, len(node.free_gpus)


def whole(node: NodeState) -> Sizes:
    return node.cpus, node.memory, node.gpus


class CapacityBounds:
    """
    For each set of labels and number of GPUs, a bound on the memory available with a number of cores. Free capacity
    only shrinks within a pass, so a bound stays valid, and is computed again only after it proved too high.
    """

    def __init__(self, labels: LabelIndex, sizes: Callable[[NodeState], Sizes]) -> None:
        self._labels = labels
        self._sizes = sizes
        self._taken = 0
        self._bounds: dict[tuple[tuple[Condition, ...], int], tuple[int, _Bounds]] = {}

    def rule_out(self, task: Pending) -> bool:
        """Check that no node has enough cores and memory. False does not mean that a node has room."""
        key = (self._labels.relevant(task.labels), task.gpus)
        entry = self._bounds.get(key)
        if entry is None:
            sizes = map(self._sizes, self._labels.matching(task.labels))
            bounds = _Bounds((cpus, memory) for cpus, memory, gpus in sizes if gpus >= task.gpus)
            self._bounds[key] = entry = (self._taken, bounds)
        return not entry[1].hold(task)

    def note_taken(self) -> None:
        """Record that a node has less free than before."""
        self._taken += 1

    def note_infeasible(self, task: Pending) -> None:
        """Record that no node has room for `task`, though the bounds did not rule it out."""
        key = (self._labels.relevant(task.labels), task.gpus)
        if key in self._bounds and self._bounds[key][0] != self._taken:
            del self._bounds[key]


class _Bounds:
    """The nodes that no other node exceeds in both cores and memory, by cores."""

    def __init__(self, sizes: Iterable[tuple[float, int]]) -> None:
        self._cpus: list[float] = []
        self._memories: list[int] = []
        most = -1
        for cpus, memory in sorted(sizes, reverse=True):
            if memory > most:
                self._cpus.append(-(cpus + EPSILON))
                self._memories.append(most := memory)

    def hold(self, task: Pending) -> bool:
        enough = bisect.bisect_right(
            self._cpus, -task.cpus
        )  # of the nodes with enough cores, the last has the most memory
        return enough > 0 and self._memories[enough - 1] >= task.memory
