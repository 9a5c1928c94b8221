"""Rank the nodes with room for a task: the fullest first (binpack) or the emptiest first (spread): pure."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from services.scheduler.placement import feasibility
from services.scheduler.placement.labels import LabelIndex
from services.scheduler.placement.node_state import Allocation, NodeState
from services.scheduler.placement.reservation import EPSILON
from shared.models.work import Pending

FEW = 8  #: of this many nodes, at most one may match for a linear search to be quickest


class Ranking(Protocol):
    """The nodes of a pass in order of preference. They may change only through `take`."""

    labels: LabelIndex  #: index of the ready nodes

    def could_ever_take(self, task: Pending) -> bool:
        """Check whether one of the nodes would have room for `task` if it were empty."""
        ...

    def find(self, task: Pending, *, without: NodeState | None = None) -> NodeState | None:
        """Return the best node for `task`; None if none has room. `without` is reserved for another task."""
        ...

    def take(
        self, task: Pending, node: NodeState, *, since: float | None = None, until: float | None = None
    ) -> Allocation:
        """Allocate for `task` on `node` from `since` on, until its latest end `until`, and return the allocation."""
        ...


class _Sorted:
    """
    Ready nodes, grouped by the number of free GPUs and sorted by a key within a group. `find` and `take` cost a binary
    search instead of a comparison with every node.
    """

    def __init__(self, nodes: Iterable[NodeState], key: Callable[[NodeState], tuple[float, float, str]]) -> None:
        self.key = key
        self.labels = LabelIndex([node for node in nodes if node.ready])
        self.by_gpus: dict[int, list[NodeState]] = defaultdict(list)
        for node in self.labels.nodes:
            self.by_gpus[len(node.free_gpus)].append(node)
        for group in self.by_gpus.values():
            group.sort(key=key)

    def could_ever_take(self, task: Pending) -> bool:
        return any(feasibility.could_ever_fit(task, node) for node in self.labels.matching(task.labels))

    def few_matching(self, task: Pending) -> Sequence[NodeState] | None:
        """Return the nodes that match the labels of `task` if they are so few that a linear search is quickest."""
        if not task.labels:
            return None
        matching = self.labels.matching(task.labels)
        return matching if len(matching) * FEW <= len(self.labels.nodes) else None

    def take(
        self, task: Pending, node: NodeState, *, since: float | None = None, until: float | None = None
    ) -> Allocation:
        group = self.by_gpus[len(node.free_gpus)]
        del group[bisect.bisect_left(group, self.key(node), key=self.key)]
        allocation = node.allocate(task, since=since, until=until)
        bisect.insort(self.by_gpus[len(node.free_gpus)], node, key=self.key)
        return allocation


class BestFit(_Sorted):
    """
    Prefer the node with the fewest free GPUs that suffice, then the fewest free cores, then the least free memory, so
    that large gaps stay for large tasks (best-fit bin packing: Johnson, 1973).
    """

    def __init__(self, nodes: Iterable[NodeState]) -> None:
        super().__init__(nodes, _free)

    def find(self, task: Pending, *, without: NodeState | None = None) -> NodeState | None:
        if (few := self.few_matching(task)) is not None:
            able = (node for node in few if node is not without and feasibility.fits(task, node))
            return min(able, key=lambda node: (len(node.free_gpus), *_free(node)), default=None)
        for count in sorted(self.by_gpus):
            if count < task.gpus:
                continue
            group = self.by_gpus[count]
            start = bisect.bisect_left(group, task.cpus - EPSILON, key=_free_cpus)
            for node in group[start:]:
                if node.free_memory >= task.memory and feasibility.fits(task, node) and node is not without:
                    return node
        return None


class Spread(_Sorted):
    """
    Prefer the node with the largest free share, of cores or memory, whichever is scarcer. Tasks with GPUs go where most
    GPUs are free; tasks without avoid nodes with free GPUs as long as others have room.
    """

    def __init__(self, nodes: Iterable[NodeState]) -> None:
        super().__init__(nodes, _emptiness)

    def find(self, task: Pending, *, without: NodeState | None = None) -> NodeState | None:
        if (few := self.few_matching(task)) is not None:
            able = (node for node in few if node is not without and feasibility.fits(task, node))
            return max(able, key=lambda node: (_gpu_preference(task, node), *_emptiness(node)), default=None)
        if task.gpus:
            counts = sorted((count for count in self.by_gpus if count >= task.gpus), reverse=True)
            return next((node for count in counts if (node := self._first(task, count, without))), None)
        plain = self._first(task, 0, without)
        if plain is not None:
            return plain
        best = (self._first(task, count, without) for count in list(self.by_gpus) if count)
        return max((node for node in best if node), key=_emptiness, default=None)

    def _first(self, task: Pending, count: int, without: NodeState | None) -> NodeState | None:
        for node in reversed(self.by_gpus.get(count, ())):
            if feasibility.fits(task, node) and node is not without:
                return node
        return None


RANKINGS: Mapping[str, Callable[[Iterable[NodeState]], Ranking]] = {"binpack": BestFit, "spread": Spread}


def _free(node: NodeState) -> tuple[float, float, str]:
    return node.free_cpus, node.free_memory, node.name


def _free_cpus(node: NodeState) -> float:
    return node.free_cpus


def _gpu_preference(task: Pending, node: NodeState) -> int:
    """Return a higher number for a node whose free GPUs suit `task` better."""
    return len(node.free_gpus) if task.gpus else -bool(node.free_gpus)


def _emptiness(node: NodeState) -> tuple[float, float, str]:
    cpus, memory = node.free_cpus / (node.cpus or 1), node.free_memory / (node.memory or 1)
    return min(cpus, memory), max(cpus, memory), node.name
