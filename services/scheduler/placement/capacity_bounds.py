"""The most that any node has: what is more than that need not ask the nodes. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable

from services.scheduler.placement.labels import Condition, LabelIndex
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.reservation import EPSILON
from shared.models.work import Pending

#: Cores, memory (bytes) and how many gpus.
Sizes = tuple[float, int, int]


def free(node: NodeState) -> Sizes:
    return node.free_cpus, node.free_memory, len(node.free_gpus)


def whole(node: NodeState) -> Sizes:
    return node.cpus, node.memory, node.gpus


class Room:
    """
    Bounds, for the nodes with some labels and so many gpus each, on the memory that comes with a number of cores. Room only
    shrinks within a pass, so a bound holds until its end, and is found anew only where it has proved to be too high.
    """

    def __init__(self, labels: LabelIndex, sizes: Callable[[NodeState], Sizes]) -> None:
        self._labels = labels
        self._sizes = sizes
        self._taken = 0
        self._found: dict[tuple[tuple[Condition, ...], int], tuple[int, _Bounds]] = {}

    def lacks(self, task: Pending) -> bool:
        """Whether no node has as many cores and as much memory. If not, none may have room all the same."""
        key = (self._labels.telling(task.labels), task.gpus)
        found = self._found.get(key)
        if found is None:
            sizes = map(self._sizes, self._labels.matching(task.labels))
            bounds = _Bounds((cpus, memory) for cpus, memory, gpus in sizes if gpus >= task.gpus)
            self._found[key] = found = (self._taken, bounds)
        return not found[1].hold(task)

    def note_taken(self) -> None:
        """A node has less free than before."""
        self._taken += 1

    def note_refused(self, task: Pending) -> None:
        """No node has room for `task`, which nothing was known to be lacking for."""
        key = (self._labels.telling(task.labels), task.gpus)
        if key in self._found and self._found[key][0] != self._taken:
            del self._found[key]


class _Bounds:
    """Of nodes of which none has both more cores and more memory than another one: by cores, the memory of each."""

    def __init__(self, sizes: Iterable[tuple[float, int]]) -> None:
        self._cpus: list[float] = []
        self._memories: list[int] = []
        most = -1
        for cpus, memory in sorted(sizes, reverse=True):
            if memory > most:
                self._cpus.append(-(cpus + EPSILON))
                self._memories.append(most := memory)

    def hold(self, task: Pending) -> bool:
        enough = bisect.bisect_right(self._cpus, -task.cpus)  # of all with as many cores the last one has most memory
        return enough > 0 and self._memories[enough - 1] >= task.memory
