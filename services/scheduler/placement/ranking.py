"""Which of the nodes with room is best: the fullest, so that large tasks keep large gaps, or the emptiest: pure."""

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

FEW = 8  #: one node in so many


class Ranking(Protocol):
    """Nodes that a pass gives tasks to. A node may not change but by `take`."""

    labels: LabelIndex  #: of the nodes that are ready

    def could_ever_take(self, task: Pending) -> bool:
        """Whether one of the nodes would have room for `task` if it were empty."""
        ...

    def find(self, task: Pending, *, without: NodeState | None = None) -> NodeState | None:
        """The best node for `task`, none where none has room. `without` is kept for somebody else."""
        ...

    def take(
        self, task: Pending, node: NodeState, *, since: float | None = None, until: float | None = None
    ) -> Allocation:
        """`task` goes to `node` now (`since`), `until` when it is sure to end: what it is given."""
        ...


class _Sorted:
    """
    Ready nodes by how many gpus are free on each, then by a key: what has the fewest gpus to lose is looked at first. Finding
    and taking cost a binary search, not a look at every node.
    """

    def __init__(self, nodes: Iterable[NodeState], key: Callable[[NodeState], tuple[float, float, str]]) -> None:
        self.key = key
        self.labels = LabelIndex([node for node in nodes if node.ready])
        self.by_gpus: dict[int, list[NodeState]] = defaultdict(list)
        for node in self.labels.nodes:
            self.by_gpus[len(node.free_gpus)].append(node)
        for alike in self.by_gpus.values():
            alike.sort(key=key)

    def could_ever_take(self, task: Pending) -> bool:
        return any(feasibility.could_ever_fit(task, node) for node in self.labels.matching(task.labels))

    def few(self, task: Pending) -> Sequence[NodeState] | None:
        """The nodes with the labels that `task` wants, where these are so few that looking at each is quickest."""
        if not task.labels:
            return None
        matching = self.labels.matching(task.labels)
        return matching if len(matching) * FEW <= len(self.labels.nodes) else None

    def take(
        self, task: Pending, node: NodeState, *, since: float | None = None, until: float | None = None
    ) -> Allocation:
        alike = self.by_gpus[len(node.free_gpus)]
        del alike[bisect.bisect_left(alike, self.key(node), key=self.key)]
        given = node.allocate(task, since=since, until=until)
        bisect.insort(self.by_gpus[len(node.free_gpus)], node, key=self.key)
        return given


class BestFit(_Sorted):
    """
    The node with the fewest free gpus that are enough, then the fewest free cores, then the least free memory: the tightest
    fit (best-fit bin packing: Johnson, 1973).
    """

    def __init__(self, nodes: Iterable[NodeState]) -> None:
        super().__init__(nodes, _room)

    def find(self, task: Pending, *, without: NodeState | None = None) -> NodeState | None:
        if (few := self.few(task)) is not None:
            able = (node for node in few if node is not without and feasibility.fits(task, node))
            return min(able, key=lambda node: (len(node.free_gpus), *_room(node)), default=None)
        for count in sorted(self.by_gpus):
            if count < task.gpus:
                continue
            alike = self.by_gpus[count]
            start = bisect.bisect_left(alike, task.cpus - EPSILON, key=_free_cpus)
            for node in alike[start:]:
                if node.free_memory >= task.memory and feasibility.fits(task, node) and node is not without:
                    return node
        return None


class Spread(_Sorted):
    """
    The node of which the largest share is free, of cores or memory whichever is scarcer. Tasks with gpus go where most of
    these are free; those without go elsewhere, as long as there is an elsewhere.
    """

    def __init__(self, nodes: Iterable[NodeState]) -> None:
        super().__init__(nodes, _emptiness)

    def find(self, task: Pending, *, without: NodeState | None = None) -> NodeState | None:
        if (few := self.few(task)) is not None:
            able = (node for node in few if node is not without and feasibility.fits(task, node))
            return max(able, key=lambda node: (_wish(task, node), *_emptiness(node)), default=None)
        if task.gpus:
            counts = sorted((count for count in self.by_gpus if count >= task.gpus), reverse=True)
            return next((node for count in counts if (node := self._first(task, count, without))), None)
        plain = self._first(task, 0, without)
        if plain is not None:
            return plain
        found = (self._first(task, count, without) for count in list(self.by_gpus) if count)
        return max((node for node in found if node), key=_emptiness, default=None)

    def _first(self, task: Pending, count: int, without: NodeState | None) -> NodeState | None:
        for node in reversed(self.by_gpus.get(count, ())):
            if feasibility.fits(task, node) and node is not without:
                return node
        return None


RANKINGS: Mapping[str, Callable[[Iterable[NodeState]], Ranking]] = {"binpack": BestFit, "spread": Spread}


def _room(node: NodeState) -> tuple[float, float, str]:
    return node.free_cpus, node.free_memory, node.name


def _free_cpus(node: NodeState) -> float:
    return node.free_cpus


def _wish(task: Pending, node: NodeState) -> int:
    """Higher where free gpus are more welcome, or less in the way."""
    return len(node.free_gpus) if task.gpus else -bool(node.free_gpus)


def _emptiness(node: NodeState) -> tuple[float, float, str]:
    cpus, memory = node.free_cpus / (node.cpus or 1), node.free_memory / (node.memory or 1)
    return min(cpus, memory), max(cpus, memory), node.name
