"""Circles of a graph of imports."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def first(graph: Mapping[Node, Iterable[Node]]) -> list[Node]:
    """Return the nodes of one circle in the order of its arrows, the first again at the end; nothing without a circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []
