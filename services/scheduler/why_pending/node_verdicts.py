"""Say of a task why no node takes it, all of them taken together: pure."""

from __future__ import annotations

import bisect
import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, chain, islice

from services.scheduler.placement import feasibility
from services.scheduler.placement.feasibility import Reason
from services.scheduler.placement.labels import LabelIndex, conditions
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.reservation import EPSILON, Reservation
from services.scheduler.why_pending import wording
from shared.models.node import NEVER
from shared.models.work import Pending

_NAMED = 3  #: nodes a sentence names before it counts the rest


class Outcome(StrEnum):
    """What the nodes say of a task, all of them together."""

    FITS = "fits"  #: one of them has room
    WAITING = "waiting"  #: one of them will have, once others end
    RESERVED = "reserved"  #: the one with room is kept for another task
    FRAGMENTED = "fragmented"  #: they have room enough together, and none of them alone
    NEVER = "never"  #: none of them would have, empty and well
    NOT_READY = "not_ready"  #: none that would have is ready
    NO_NODES = "no_nodes"


@dataclass(frozen=True, slots=True)
class NodeVerdict:
    """What one node says: `ever`, whether it would take the task if it were empty and well."""

    node: str
    ever: bool
    reasons: tuple[Reason, ...]

    @property
    def fits(self) -> bool:
        return not self.reasons


@dataclass(frozen=True, slots=True)
class Judgement:
    """What all nodes say of a task. `text` is one sentence for people."""

    outcome: Outcome
    text: str
    nodes: tuple[NodeVerdict, ...]


def judge(task: Pending, nodes: Sequence[NodeState], reservation: Reservation | None = None) -> Judgement:
    """Every reason of every node why it does not take `task` now."""
    verdicts = tuple(
        NodeVerdict(node.name, feasibility.could_ever_fit(task, node), feasibility.why_not(task, node, reservation))
        for node in nodes
    )
    explainer = Explainer(nodes, reservation)
    if any(verdict.fits for verdict in verdicts):
        return Judgement(Outcome.FITS, "a node has room", verdicts)
    return Judgement(explainer.outcome(task), explainer.explain(task), verdicts)


def explain(task: Pending, nodes: Sequence[NodeState], reservation: Reservation | None = None) -> str:
    """Why no node takes `task`, in a sentence."""
    return Explainer(nodes, reservation).explain(task)


class Explainer:
    """
    Says of any number of tasks why none of `nodes` takes them, as the nodes are now. What they have in common is found
    once: with many shapes waiting, sorting the nodes for each of them was what a planning pass took its time for.
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
        self._said: dict[tuple[str, bool, bool, bool, bool], str] = {}

    def outcome(self, task: Pending) -> Outcome:
        """What the nodes say together, of a task that none of them takes now."""
        if not self._all.nodes and not self._unseen:
            return Outcome.NO_NODES
        suitable = self._suitable_for(task)
        if not suitable.count(task):
            return Outcome.NOT_READY if self._unseen_for(task) else Outcome.NEVER
        if not suitable.has_ready(task):
            return Outcome.NOT_READY
        if self._kept is not None and feasibility.fits(task, self._kept):
            return Outcome.RESERVED
        return Outcome.FRAGMENTED if suitable.have_together(task) else Outcome.WAITING

    def explain(self, task: Pending) -> str:
        """A sentence that tells apart whether none ever could, they could together, or none has room now."""
        needs = f"needs {wording.needs(task)}"
        outcome = self.outcome(task)
        if outcome is Outcome.NO_NODES:
            return f"{needs}, and there are no nodes"
        if outcome is Outcome.NEVER:
            return f"{NEVER}: {needs}, but {self._why_never(task)}"
        suitable = self._suitable_for(task)
        unseen = self._unseen_for(task) if outcome is Outcome.NOT_READY else []
        named = suitable.roomiest(task, _NAMED) or unseen[:_NAMED]
        said = [text for node in named if (text := self._lacks(task, node))]
        if self._reservation and (outcome is Outcome.RESERVED or self._reservation.shape == task.shape):
            said.append(self._reservation.text)
        others = suitable.count(task) + len(unseen) - len(named)
        rest = f"; and so on for {others} more" if others > 0 else ""
        together = " (there is as much free, but not on one node)" if outcome is Outcome.FRAGMENTED else ""
        return f"{needs}{together}: {'; '.join(said)}{rest}"

    def _unseen_for(self, task: Pending) -> list[NodeState]:
        """Nodes that might take it for all that is known of them."""
        return [node for node in self._unseen if node.name not in task.avoid]

    def _lacks(self, task: Pending, node: NodeState) -> str:
        """What `node`, which is large enough, does not have now. It says the same of all tasks that lack the same of it."""
        key = (
            node.name,
            node.free_cpus + EPSILON < task.cpus,
            node.free_memory < task.memory,
            len(node.free_gpus) < task.gpus,
            node.free_ports < task.ports,
        )
        if key not in self._said:
            self._said[key] = wording.of_node(task, node)
        return self._said[key]

    def _suitable_for(self, task: Pending) -> _Group:
        if not (task.gpus or task.labels or task.ports or task.avoid):
            return self._all
        key = (task.gpus, self._labels.telling(task.labels), task.ports, task.avoid)
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
    """Nodes in some order, and what those of them have together that are large enough for a task."""

    def __init__(self, nodes: Sequence[NodeState]) -> None:
        self.nodes = nodes
        by_cpus: dict[float, list[int]] = defaultdict(list)
        for place in sorted(range(len(nodes)), key=lambda place: nodes[place].memory):
            by_cpus[nodes[place].cpus].append(place)  # of hosts alike, no two have the same memory
        self._kinds = {cpus: _Kind(nodes, places) for cpus, places in by_cpus.items()}

    def count(self, task: Pending) -> int:
        """How many of the nodes `could_ever_fit` is true of."""
        return sum(len(kind.memories) - kind.first(task) for kind in self._large_enough(task))

    def has_ready(self, task: Pending) -> bool:
        """Whether any of these is ready."""
        return any(kind.ready[kind.first(task)] for kind in self._large_enough(task))

    def roomiest(self, task: Pending, most: int) -> list[NodeState]:
        """The first ones of these."""
        if self.count(task) ** 2 > len(self.nodes):  # so many that a few are soon met
            return list(islice((node for node in self.nodes if _is_large_enough(task, node)), most))
        places = chain.from_iterable(kind.places[kind.first(task) :] for kind in self._large_enough(task))
        return [self.nodes[place] for place in heapq.nsmallest(most, places)]

    def have_together(self, task: Pending) -> bool:
        """Whether those that are ready have as much free, all together, as `task` needs."""
        free = [kind.free[kind.first(task)] for kind in self._large_enough(task)]
        needs = (task.cpus - EPSILON, task.memory, task.gpus, task.ports)
        return all(sum(column) >= need for column, need in zip(zip(*free, strict=True), needs, strict=True))

    def _large_enough(self, task: Pending) -> list[_Kind]:
        return [kind for cpus, kind in self._kinds.items() if cpus + EPSILON >= task.cpus]


class _Kind:
    """
    Those of `nodes` with the same number of cores, by memory: their places among all, and from each on what is free and how many
    are ready.
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
    """`could_ever_fit`, labels and what is avoided aside."""
    return _is_large_enough(task, node) and node.gpus >= task.gpus and len(node.ports) >= task.ports
