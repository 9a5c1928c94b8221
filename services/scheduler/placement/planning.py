"""Plan which waiting task goes to which node: pure, between a snapshot of the nodes and a list of placements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from services.scheduler.placement import backfill, feasibility
from services.scheduler.placement.backfill import Rules
from services.scheduler.placement.node_state import Allocation, NodeState
from services.scheduler.placement.ranking import BestFit, Ranking
from services.scheduler.placement.reservation import Reservation
from services.scheduler.placement.search import Possible, Search
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
    """How many children of an array may hold resources at a time, where that is limited, and how many do; by parent."""

    limits: Mapping[int, int] = field(default_factory=dict)
    placed: Mapping[int, int] = field(default_factory=dict)


def nobody_is_held(task: Pending) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Terms:
    """What a pass keeps to, beside what the nodes have. `is_held` is true of tasks that are not to be offered now."""

    ranking: Callable[[Iterable[NodeState]], Ranking] = BestFit
    rules: Rules = field(default_factory=Rules)
    arrays: Arrays = field(default_factory=Arrays)
    is_held: Callable[[Pending], bool] = nobody_is_held


@dataclass(slots=True)
class Plan:
    """
    `unplaced` has a task of each shape that was offered and found no room, `held` those whose lanes wait for a reason of
    their own. `full`: the limit ended the pass.
    """

    placements: list[Placement] = field(default_factory=list)
    unplaced: dict[str, Pending] = field(default_factory=dict)
    held: list[Pending] = field(default_factory=list)
    reservation: Reservation | None = None
    full: bool = False


def plan(policy: Pass, nodes: Sequence[NodeState], *, limit: int, terms: Terms | None = None) -> Plan:
    """
    Offer tasks in the policy's order and place each on the best node that has room, at most `limit` of them. The first that
    finds no room and could have some gets a reservation, which those after it keep.
    """
    return _Planning(policy, nodes, terms or Terms()).run(limit)


class _Planning:
    """A pass under way."""

    def __init__(self, policy: Pass, nodes: Sequence[NodeState], terms: Terms) -> None:
        self._policy = policy
        self._nodes = nodes
        self._terms = terms
        self._ranked = terms.ranking(nodes)
        self._anywhere = Search(self._ranked)
        self._possible = Possible(self._ranked)
        self._children = defaultdict(int, terms.arrays.placed)
        self._kept: NodeState | None = None  # the node of the reservation
        self._beside = self._anywhere  # once a node is kept: all but that one
        self._only_kept: set[str] = set()  # shapes that no other node has room for
        self._head_was_seen = False
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
                self._policy.skip_lasting(task)  # one that ends sooner may still go there
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
        given = self._ranked.take(task, node, since=now, until=until)
        self._anywhere.note_taken()
        self._beside.note_taken()
        if node is self._kept and self._result.reservation is not None:
            self._result.reservation = self._result.reservation.beside(task)
        self._policy.charge(task)
        if task.parent is not None:
            self._children[task.parent] += 1
        self._result.placements.append(Placement(task, given))

    def _reserve(self, task: Pending) -> None:
        """The head of those that found no room, of those that could ever, gets the one reservation of the pass."""
        if self._head_was_seen or not self._possible.holds(task):
            return
        self._head_was_seen = True
        self._result.reservation = reservation = backfill.reserve(task, self._nodes, self._terms.rules)
        if reservation is not None:
            self._kept = next(node for node in self._nodes if node.name == reservation.node)
            self._beside = Search(self._ranked, without=self._kept)
