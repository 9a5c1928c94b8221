"""Word the needs of tasks and the free resources of nodes: pure."""

from __future__ import annotations

from collections.abc import Sequence

from services.scheduler.placement import feasibility
from services.scheduler.placement.feasibility import number
from services.scheduler.placement.labels import conditions
from services.scheduler.placement.node_state import NodeState
from shared.models.pending_reason import PendingReason
from shared.models.work import Pending
from shared.units.sizes import GB

_MEASURED = frozenset({PendingReason.CPU, PendingReason.MEMORY, PendingReason.GPUS, PendingReason.PORTS})


def of_node(task: Pending, node: NodeState) -> str:
    """Return all reasons of a node as one phrase; empty if it has none."""
    reasons = feasibility.why_not(task, node)
    if not node.ready:
        return reasons[0].text
    lacks = [
        f"{number(reason.have or 0)} of {number(reason.total or 0)} {reason.unit}"
        for reason in reasons
        if reason.code in _MEASURED
    ]
    free = [f"{node.name} has {listed(lacks)} free"] if lacks else []
    if lacks and (suspended := sum(held.suspended for held in node.held)):
        free[0] += f" ({feasibility.tasks_are(suspended)} suspended there)"
    return ", ".join([*free, *(reason.text for reason in reasons if reason.code not in _MEASURED)])


def most(task: Pending, nodes: Sequence[NodeState]) -> str:
    """Return the largest sizes among `nodes` of the resources that `task` needs."""
    cpus = max(nodes, key=lambda node: node.cpus)
    memory = max(nodes, key=lambda node: node.memory)
    gpus = max(nodes, key=lambda node: node.gpus)
    sizes = [f"{number(cpus.cpus)} cpu ({cpus.name})", f"{number(memory.memory / GB)} GB ({memory.name})"]
    if task.gpus:
        sizes.append(f"{_count(gpus.gpus, 'gpu')} ({gpus.name})")
    if task.ports:
        sizes.append(f"{max(len(node.ports) for node in nodes)} ports")
    labels = [str(condition) for condition in conditions(task.labels)]
    return f"the most that a node{f' with {listed(labels)}' if labels else ''} has is {listed(sizes)}"


def needs(task: Pending) -> str:
    """Return the needs of `task` as a phrase."""
    sizes = [f"{number(task.cpus)} cpu", f"{number(task.memory / GB)} GB"]
    if task.gpus:
        sizes.append(_count(task.gpus, "gpu"))
    if task.ports:
        sizes.append(_count(task.ports, "port"))
    return listed([*sizes, *(str(condition) for condition in conditions(task.labels))])


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def listed(items: Sequence[str]) -> str:
    """Join as `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
