"""Plan which pending task goes to which node, from a snapshot of the nodes: pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.scheduler.placement import backfill, feasibility
from services.scheduler.placement.backfill import Rules
from services.scheduler.placement.node_state import Allocation, NodeState
from services.scheduler.placement.ranking import BestFit, Ranking
from services.scheduler.placement.reservation import Reservation
from services.scheduler.placement.search import EmptyNodes, Search
from services.scheduler.policies.base import Pass
from shared.models.work import Pending
from shared.units import durations


@dataclass(frozen=True, slots=True)
class Placement:
    task: Pending
    given: Allocation

    @property
    def node(self) -> str:
        return self.given.node


@dataclass(frozen=True, slots=True)
class Arrays:
    """Limits on the placed children of arrays, and the numbers of placed children, by parent."""

    limits: Mapping[int, int] = field(default_factory=dict)
    placed: Mapping[int, int] = field(default_factory=dict)


def nobody_is_held(task: Pending) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Terms:
    """The rules of a pass. `is_held` is true for tasks that must not be placed now, by a quota for example."""

    ranking: Callable[[Iterable[NodeState]], Ranking] = BestFit
    rules: Rules = field(default_factory=Rules)
    arrays: Arrays = field(default_factory=Arrays)
    is_held: Callable[[Pending], bool] = nobody_is_held


@dataclass(slots=True)
class Plan:
    """
    The result of a pass. `unplaced`: a task of each shape that found no room. `held`: the first task of each lane that
    was held. `full`: the limit ended the pass.
    """

    placements: list[Placement] = field(default_factory=list)
    unplaced: dict[str, Pending] = field(default_factory=dict)
    held: list[Pending] = field(default_factory=list)
    reservation: Reservation | None = None
    full: bool = False


def plan(policy: Pass, nodes: Sequence[NodeState], *, limit: int, terms: Terms | None = None) -> Plan:
    """
    Offer tasks in the policy's order and place each on the best node with room, at most `limit` of them. The first task
    that finds no room, though a node could take it, gets a reservation, which the tasks after it respect.
    """
    return _Planning(policy, nodes, terms or Terms()).run(limit)


class _Planning:
    """The state of one pass."""

    def __init__(self, policy: Pass, nodes: Sequence[NodeState], terms: Terms) -> None:
        self._policy = policy
        self._nodes = nodes
        self._terms = terms
        self._ranked = terms.ranking(nodes)
        self._anywhere = Search(self._ranked)
        self._empty_nodes = EmptyNodes(self._ranked)
        self._children = defaultdict(int, terms.arrays.placed)
        self._kept: NodeState | None = None  # the reserved node
        self._beside = self._anywhere  # all nodes but the reserved one, once there is one
        self._only_kept: set[str] = set()  # shapes that fit on the reserved node alone
        self._head_was_found = False
        self._result = Plan()

    def run(self, limit: int) -> Plan:
        while (task := self._policy.pop()) is not None:
            if len(self._result.placements) >= limit:
                self._result.full = True
                break
            if self._is_limited(task) or self._terms.is_held(task):
                self._policy.hold(task)
                self._result.held.append(task)
            elif (node := self._find(task)) is not None:
                self._place(task, node)
            elif task.shape in self._only_kept:
                self._policy.skip_lasting(task)  # a task with a shorter lifespan may still go there
                self._result.unplaced.setdefault(task.shape, task)
            else:
                self._policy.skip(task)
                self._result.unplaced.setdefault(task.shape, task)
                self._reserve(task)
        return self._result

    def _is_limited(self, task: Pending) -> bool:
        if task.parent is None or task.parent not in self._terms.arrays.limits:
            return False
        return self._children[task.parent] >= self._terms.arrays.limits[task.parent]

    def _find(self, task: Pending) -> NodeState | None:
        kept = self._kept
        if kept is None or not feasibility.fits(task, kept):
            return self._anywhere.find(task)
        reservation = self._result.reservation
        assert reservation is not None
        if reservation.permits(task):
            return self._anywhere.find(task)
        node = self._beside.find(task)
        if node is None:
            self._only_kept.add(task.shape)
        return node

    def _place(self, task: Pending, node: NodeState) -> None:
        lifespan = durations.shortest(task.lifespan, self._terms.rules.maxlifespan)
        now = self._terms.rules.now
        until = None if lifespan is None else now + lifespan
        allocation = self._ranked.take(task, node, since=now, until=until)
        self._anywhere.note_taken()
        self._beside.note_taken()
        if node is self._kept and self._result.reservation is not None:
            self._result.reservation = self._result.reservation.beside(task)
        self._policy.charge(task)
        if task.parent is not None:
            self._children[task.parent] += 1
        self._result.placements.append(Placement(task, allocation))

    def _reserve(self, task: Pending) -> None:
        """Give the one reservation of the pass to the first unplaced task that an empty node could take."""
        if self._head_was_found or not self._empty_nodes.could_take(task):
            return
        self._head_was_found = True
        self._result.reservation = reservation = backfill.reserve(task, self._nodes, self._terms.rules)
        if reservation is not None:
            self._kept = next(node for node in self._nodes if node.name == reservation.node)
            self._beside = Search(self._ranked, without=self._kept)
