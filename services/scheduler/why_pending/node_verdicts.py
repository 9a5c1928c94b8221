"""Find the pending reason of a task across all nodes: pure."""

from __future__ import annotations

import bisect
import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice

from services.scheduler.placement import feasibility
from services.scheduler.placement.feasibility import Reason
from services.scheduler.placement.labels import LabelIndex, conditions
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.reservation import EPSILON, Reservation
from services.scheduler.why_pending import wording
from shared.models.node import NEVER
from shared.models.pending_reason import PendingReason
from shared.models.work import Pending

_NAMED = 3  #: nodes that a sentence names before it counts the rest


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """The reasons of one node. `ever`: the node would take the task if it were empty and ready."""

    node: str
    ever: bool
    reasons: tuple[Reason, ...]

    @property
    def fits(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True)
class NodeVerdicts:
    """
    The verdict of each node and their common `reason`, None if a node has room. `text` is one sentence for people.
    """

    reason: PendingReason | None
    text: str
    nodes: tuple[NodeVerdict, ...]


def collect(task: Pending, nodes: Sequence[NodeState], reservation: Reservation | None = None) -> NodeVerdicts:
    """Return every reason of every node for not taking `task` now."""
    verdicts = tuple(
        NodeVerdict(node.name, feasibility.could_ever_fit(task, node), feasibility.why_not(task, node, reservation))
        for node in nodes
    )
    if any(verdict.fits for verdict in verdicts):
        return NodeVerdicts(None, "a node has room", verdicts)
    reasons = NodeReasons(nodes, reservation)
    return NodeVerdicts(reasons.reason(task), reasons.sentence(task), verdicts)


class NodeReasons:
    """
    The pending reasons of any number of tasks that none of `nodes` takes, for one snapshot of the nodes. Work that the
    tasks share is done once: with many shapes waiting, sorting the nodes for each shape took most of a planning pass.
    """

    def __init__(self, nodes: Sequence[NodeState], reservation: Reservation | None = None) -> None:
        self._reservation = reservation
        self._kept = next((node for node in nodes if reservation and node.name == reservation.node), None)
        roomiest = sorted(nodes, key=lambda node: (node.ready, node.free_cpus, node.free_memory), reverse=True)
        self._unseen = [node for node in roomiest if not node.seen]
        seen = [node for node in roomiest if node.seen]
        self._all = _Group(seen)
        self._labels = LabelIndex(seen)
        self._suitable: dict[tuple[object, ...], _Group] = {}
        self._texts: dict[tuple[str, bool, bool, bool, bool], str] = {}

    def reason(self, task: Pending) -> PendingReason:
        """Return the reason common to all nodes, for a task that none of them takes now."""
        if not self._all.nodes and not self._unseen:
            return PendingReason.NO_NODES
        suitable = self._suitable_for(task)
        if not suitable.count(task):
            return PendingReason.NOT_READY if self._unseen_for(task) else PendingReason.NEVER
        if not suitable.has_ready(task):
            return PendingReason.NOT_READY
        if self._kept is not None and feasibility.fits(task, self._kept):
            return PendingReason.RESERVED
        return PendingReason.FRAGMENTED if suitable.have_together(task) else PendingReason.NO_ROOM

    def sentence(self, task: Pending) -> str:
        """Return the reason with its numbers, as one sentence for people."""
        needs = f"needs {wording.needs(task)}"
        reason = self.reason(task)
        if reason is PendingReason.NO_NODES:
            return f"{needs}, and there are no nodes"
        if reason is PendingReason.NEVER:
            return f"{NEVER}: {needs}, but {self._why_never(task)}"
        suitable = self._suitable_for(task)
        unseen = self._unseen_for(task) if reason is PendingReason.NOT_READY else []
        named = suitable.roomiest(task, _NAMED) or unseen[:_NAMED]
        texts = [text for node in named if (text := self._lacks(task, node))]
        if self._reservation and (reason is PendingReason.RESERVED or self._reservation.shape == task.shape):
            texts.append(self._reservation.text)
        others = suitable.count(task) + len(unseen) - len(named)
        rest = f"; and so on for {others} more" if others > 0 else ""
        together = " (there is as much free, but not on one node)" if reason is PendingReason.FRAGMENTED else ""
        return f"{needs}{together}: {'; '.join(texts)}{rest}"

    def _unseen_for(self, task: Pending) -> list[NodeState]:
        """Return the nodes whose sizes are not known, so that they might take the task."""
        return [node for node in self._unseen if node.name not in task.avoid]

    def _lacks(self, task: Pending, node: NodeState) -> str:
        """Name the resources that `node`, which is large enough, lacks now. Tasks that lack the same share one text."""
        key = (
            node.name,
            node.free_cpus + EPSILON < task.cpus,
            node.free_memory < task.memory,
            len(node.free_gpus) < task.gpus,
            node.free_ports < task.ports,
        )
        if key not in self._texts:
            self._texts[key] = wording.of_node(task, node)
        return self._texts[key]

    def _suitable_for(self, task: Pending) -> _Group:
        if not (task.gpus or task.labels or task.ports or task.avoid):
            return self._all
        key = (task.gpus, self._labels.relevant(task.labels), task.ports, task.avoid)
        if key not in self._suitable:
            matching = self._labels.matching(task.labels)
            self._suitable[key] = _Group([node for node in matching if feasibility.suits(task, node)])
        return self._suitable[key]

    def _why_never(self, task: Pending) -> str:
        for label, condition in zip(task.labels, conditions(task.labels), strict=True):
            if not self._labels.matching((label,)):
                return f"no node has {condition}"
        matching = self._labels.matching(task.labels)
        if not matching:
            return f"no node has {wording.listed([str(condition) for condition in conditions(task.labels)])}"
        failed = [node.name for node in matching if node.name in task.avoid and _could_take(task, node)]
        if failed:
            return f"{wording.listed(sorted(failed))}, which could take it, failed it before"
        return wording.most(task, matching)


class _Group:
    """
    An ordered set of nodes that answers for those large enough for a task: how many, whether ready, how much is free.
    """

    def __init__(self, nodes: Sequence[NodeState]) -> None:
        self.nodes = nodes
        by_cpus: dict[float, list[int]] = defaultdict(list)
        for place in sorted(range(len(nodes)), key=lambda place: nodes[place].memory):
            by_cpus[nodes[place].cpus].append(place)  # even equal hosts rarely report the same memory
        self._kinds = {cpus: _Kind(nodes, places) for cpus, places in by_cpus.items()}

    def count(self, task: Pending) -> int:
        """Count the nodes for which `could_ever_fit` is true."""
        return sum(len(kind.memories) - kind.first(task) for kind in self._large_enough(task))

    def has_ready(self, task: Pending) -> bool:
        """Check whether one of these nodes is ready."""
        return any(kind.ready[kind.first(task)] for kind in self._large_enough(task))

    def roomiest(self, task: Pending, most: int) -> list[NodeState]:
        """Return the first `most` of these nodes."""
        if self.count(task) ** 2 > len(self.nodes):  # so many that the first few are found soon
            return list(islice((node for node in self.nodes if _is_large_enough(task, node)), most))
        places = chain.from_iterable(kind.places[kind.first(task) :] for kind in self._large_enough(task))
        return [self.nodes[place] for place in heapq.nsmallest(most, places)]

    def have_together(self, task: Pending) -> bool:
        """Check whether the ready ones have enough free for `task`, all added up."""
        free = [kind.free[kind.first(task)] for kind in self._large_enough(task)]
        needs = (task.cpus - EPSILON, task.memory, task.gpus, task.ports)
        return all(sum(column) >= need for column, need in zip(zip(*free, strict=True), needs, strict=True))

    def _large_enough(self, task: Pending) -> list[_Kind]:
        return [kind for cpus, kind in self._kinds.items() if cpus + EPSILON >= task.cpus]


class _Kind:
    """
    The nodes with one number of cores, sorted by memory: their places in the group, and for each place how much is free
    and how many are ready from there on.
    """

    def __init__(self, nodes: Sequence[NodeState], places: Sequence[int]) -> None:
        self.places = places
        self.memories = [nodes[place].memory for place in places]
        columns = zip(*(_free(nodes[place]) for place in reversed(places)), strict=True)
        self.free = list(zip(*map(_sums, columns), strict=True))[::-1]
        self.ready = _sums(nodes[place].ready for place in reversed(places))[::-1]

    def first(self, task: Pending) -> int:
        return bisect.bisect_left(self.memories, task.memory)


def _sums(values: Iterable[float]) -> list[float]:
    return list(accumulate(values, initial=0.0))


def _free(node: NodeState) -> tuple[float, float, float, float]:
    if not node.ready:
        return 0.0, 0.0, 0.0, 0.0
    return max(0.0, node.free_cpus), max(0, node.free_memory), len(node.free_gpus), node.free_ports


def _is_large_enough(task: Pending, node: NodeState) -> bool:
    return node.cpus + EPSILON >= task.cpus and node.memory >= task.memory


def _could_take(task: Pending, node: NodeState) -> bool:
    """Check `could_ever_fit` without labels and avoided nodes."""
    return _is_large_enough(task, node) and node.gpus >= task.gpus and len(node.ports) >= task.ports
