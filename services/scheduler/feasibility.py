"""Whether a node could take a task, and if not why not, in numbers: pure."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

from services.scheduler.cluster import NodeState
from shared.store.work import GB, Pending

EPSILON = 1e-6  #: cores: sums of fractions are not exact
_NAMED = 3  #: nodes a reason names before it counts the rest


def fits(task: Pending, node: NodeState) -> bool:
    """Whether `node` has room for `task` now."""
    return node.ready and node.free_cpus + EPSILON >= task.cpus and node.free_memory >= task.memory


def could_ever_fit(task: Pending, node: NodeState) -> bool:
    """Whether `node` would have room for `task` if it were empty."""
    return node.cpus + EPSILON >= task.cpus and node.memory >= task.memory


def why_not(task: Pending, node: NodeState) -> str | None:
    """Why `node` cannot take `task` now, as a sentence with numbers; None if it can."""
    if not node.ready:
        return f"{node.name} is not ready ({node.reason or 'it does not answer'})"
    lacks = []
    if node.free_cpus + EPSILON < task.cpus:
        lacks.append(f"{_cpus(node.free_cpus)} of {_cpus(node.cpus)} cpu")
    if node.free_memory < task.memory:
        lacks.append(f"{_gb(node.free_memory)} of {_gb(node.memory)} GB")
    return f"{node.name} has {' and '.join(lacks)} free" if lacks else None


def explain(task: Pending, nodes: Sequence[NodeState]) -> str:
    """Why no node takes `task`: told apart whether none ever could, or none has room now."""
    return Explainer(nodes).explain(task)


class Explainer:
    """
    Says of any number of tasks why none of `nodes` takes them, as the nodes are now. What they have in common is found
    once: with many shapes waiting, sorting the nodes for each of them was what a planning pass took its time for.
    """

    def __init__(self, nodes: Sequence[NodeState]) -> None:
        self._nodes = nodes
        self._memory_by_cpus: dict[float, list[int]] = defaultdict(list)  # of hosts alike, no two have the same memory
        for node in sorted(nodes, key=lambda node: node.memory):
            self._memory_by_cpus[node.cpus].append(node.memory)
        self._roomiest = sorted(nodes, key=lambda node: (node.ready, node.free_cpus, node.free_memory), reverse=True)

    def explain(self, task: Pending) -> str:
        needs = f"needs {_cpus(task.cpus)} cpu and {_gb(task.memory)} GB"
        if not self._nodes:
            return f"{needs}, and there are no nodes"
        possible = self._possible(task)
        if not possible:
            return self._never(needs)
        named = islice((node for node in self._roomiest if could_ever_fit(task, node)), _NAMED)
        reasons = [reason for node in named if (reason := why_not(task, node))]
        others = possible - len(reasons)
        return f"{needs}: {'; '.join(reasons)}" + (f"; and so on for {others} more" if others > 0 else "")

    def _possible(self, task: Pending) -> int:
        """How many nodes `could_ever_fit` is true of."""
        return sum(
            len(memories) - bisect.bisect_left(memories, task.memory)
            for cpus, memories in self._memory_by_cpus.items()
            if cpus + EPSILON >= task.cpus
        )

    def _never(self, needs: str) -> str:
        cpus = max(self._nodes, key=lambda node: node.cpus)
        memory = max(self._nodes, key=lambda node: node.memory)
        return (
            f"can never run here: {needs}, but the most that a node has is {_cpus(cpus.cpus)} cpu ({cpus.name}) "
            f"and {_gb(memory.memory)} GB ({memory.name})"
        )


def _cpus(cores: float) -> str:
    return f"{max(0.0, cores):.2f}".rstrip("0").rstrip(".")


def _gb(size: int) -> str:
    return f"{max(0, size) / GB:.2f}".rstrip("0").rstrip(".")
