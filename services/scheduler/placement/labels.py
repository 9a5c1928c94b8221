"""What a task wants the labels of its node to be, and which nodes have them so: pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from services.scheduler.placement.node_state import NodeState


@dataclass(frozen=True, slots=True)
class Condition:
    """What a node's label has to be, or not to be."""

    name: str
    value: str
    equal: bool

    def holds(self, node: NodeState) -> bool:
        """A label that is not there is not what it must not be."""
        return (node.labels.get(self.name) == self.value) is self.equal

    def __str__(self) -> str:
        return f"{self.name}{'==' if self.equal else '!='}{self.value}"


@lru_cache(maxsize=4096)
def conditions(labels: tuple[str, ...]) -> tuple[Condition, ...]:
    """Read `storage==ssd` and `storage!=ssd`."""
    found = []
    for label in labels:
        name, equal, value = label.partition("==")
        if not equal:
            name, _, value = label.partition("!=")
        found.append(Condition(name, value, bool(equal)))
    return tuple(found)


def matches(labels: tuple[str, ...], node: NodeState) -> bool:
    """Whether the labels of `node` are so."""
    return all(condition.holds(node) for condition in conditions(labels))


class LabelIndex:
    """
    Nodes by their labels. Thousands of tasks that each want another label which no node has cost a look into a dict each, and
    not a look at every node.
    """

    def __init__(self, nodes: Sequence[NodeState]) -> None:
        self.nodes = nodes
        self._having: defaultdict[tuple[str, str], list[NodeState]] = defaultdict(list)
        for node in nodes:
            for label in node.labels.items():
                self._having[label].append(node)
        self._matching: dict[tuple[Condition, ...], Sequence[NodeState]] = {(): nodes}

    def telling(self, labels: tuple[str, ...]) -> tuple[Condition, ...]:
        """Those of the conditions that tell nodes apart, or that no node fulfils."""
        if not labels:
            return ()
        return tuple(found for found in conditions(labels) if found.equal or (found.name, found.value) in self._having)

    def matching(self, labels: tuple[str, ...]) -> Sequence[NodeState]:
        """The nodes whose labels are so, in the order of all."""
        wanted = self.telling(labels)
        if wanted not in self._matching:
            fewest = self._fewest(wanted)
            if not fewest:
                return ()
            self._matching[wanted] = [node for node in fewest if all(condition.holds(node) for condition in wanted)]
        return self._matching[wanted]

    def _fewest(self, wanted: Sequence[Condition]) -> Sequence[NodeState]:
        """The nodes to look at."""
        having = [self._having.get((found.name, found.value), []) for found in wanted if found.equal]
        return min(having, key=len, default=self.nodes)
