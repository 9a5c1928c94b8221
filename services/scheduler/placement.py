"""Plan which waiting task goes to which node: pure, between a snapshot of the nodes and a list of placements."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from services.scheduler import feasibility
from services.scheduler.cluster import NodeState
from services.scheduler.policies.base import Pass
from services.scheduler.ranking import BestFit
from shared.store.work import Pending


@dataclass(frozen=True, slots=True)
class Placement:
    task: Pending
    node: str


@dataclass(slots=True)
class Plan:
    """`reasons` says for each shape that was looked at and not placed why not. `full`: the limit ended the pass."""

    placements: list[Placement] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    unplaced: set[str] = field(default_factory=set)
    full: bool = False


def plan(policy: Pass, nodes: Sequence[NodeState], *, limit: int, explained: Collection[str] = ()) -> Plan:
    """
    Offer tasks in the policy's order and place each on the best node that has room, at most `limit` of them. Shapes in
    `explained` have a reason that is fresh enough: finding another is saved.
    """
    ranked = BestFit(nodes)
    result = Plan()
    unexplained: list[Pending] = []
    while (task := policy.pop()) is not None:
        if len(result.placements) >= limit:
            result.full = True
            break
        node = ranked.find(task)
        if node is None:
            policy.skip(task)
            result.unplaced.add(task.shape)
            if task.shape not in explained:
                unexplained.append(task)
            continue
        ranked.take(task, node)
        policy.charge(task)
        result.placements.append(Placement(task, node.name))
    if unexplained:
        # Of the nodes as the plan leaves them: what had no room when it was offered has none now.
        explainer = feasibility.Explainer(nodes)
        result.reasons = {task.shape: explainer.explain(task) for task in unexplained}
    return result
