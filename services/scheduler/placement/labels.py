"""Match the label conditions of tasks with the labels of nodes: pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from services.scheduler.placement.node_state import NodeState


@dataclass(frozen=True, slots=True)
class Condition:
    """The value that a node's label must have, or must not have."""

    name: str
    value: str
    equal: bool

    def holds(self, node: NodeState) -> bool:
        """Check the condition; a missing label satisfies `!=`."""
        return (node.labels.get(self.name) == self.value) is self.equal

    def __str__(self) -> str:
        return f"{self.name}{'==' if self.equal else '!='}{self.value}"


@lru_cache(maxsize=4096)
def conditions(labels: tuple[str, ...]) -> tuple[Condition, ...]:
    """Parse labels like `storage==ssd` and `storage!=ssd`."""
    parsed = []
    for label in labels:
        name, equal, value = label.partition("==")
        if not equal:
            name, _, value = label.partition("!=")
        parsed.append(Condition(name, value, bool(equal)))
    return tuple(parsed)


def matches(labels: tuple[str, ...], node: NodeState) -> bool:
    """Check whether `node` satisfies all conditions of `labels`."""
    return all(condition.holds(node) for condition in conditions(labels))


class LabelIndex:
    """
    Nodes by their labels. A condition on a label that no node has costs one dict access, not a comparison with every
    node: thousands of tasks may each have another one.
    """

    def __init__(self, nodes: Sequence[NodeState]) -> None:
        self.nodes = nodes
        self._having: defaultdict[tuple[str, str], list[NodeState]] = defaultdict(list)
        for node in nodes:
            for label in node.labels.items():
                self._having[label].append(node)
        self._matching: dict[tuple[Condition, ...], Sequence[NodeState]] = {(): nodes}

    def relevant(self, labels: tuple[str, ...]) -> tuple[Condition, ...]:
        """Return the conditions, without a `!=` that every node satisfies."""
        if not labels:
            return ()
        return tuple(one for one in conditions(labels) if one.equal or (one.name, one.value) in self._having)

    def matching(self, labels: tuple[str, ...]) -> Sequence[NodeState]:
        """Return the nodes that satisfy `labels`, in their original order."""
        required = self.relevant(labels)
        if required not in self._matching:
            fewest = self._fewest(required)
            if not fewest:
                return ()
            self._matching[required] = [node for node in fewest if all(condition.holds(node) for condition in required)]
        return self._matching[required]

    def _fewest(self, required: Sequence[Condition]) -> Sequence[NodeState]:
        """Return the shortest list of nodes that contains all matches."""
        having = [self._having.get((one.name, one.value), []) for one in required if one.equal]
        return min(having, key=len, default=self.nodes)
