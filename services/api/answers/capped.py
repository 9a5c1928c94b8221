"""Limits of placed tasks that their engine lowers, because it has less than its node is configured to have: pure."""

from __future__ import annotations

from shared.models.node import Node
from shared.models.task import Task
from shared.units.sizes import GB


def sentence(task: Task, node: Node) -> str | None:
    """Return the lowered limits of a task on `node` as a sentence; None if it has what it asked for."""
    lower = []
    if node.engine_cpus is not None and node.engine_cpus < task.spec.cpu:
        lower.append(f"the {node.engine_cpus} {'core' if node.engine_cpus == 1 else 'cores'}")
    if node.engine_memory is not None and node.engine_memory < round(task.spec.ram * GB):
        lower.append(f"the {node.engine_memory / GB:.1f} GB of memory")
    return f"limited to {' and '.join(lower)} that the engine of {node.id} has" if lower else None
