"""Check whether a node could take a task, and list every reason why not, with its numbers: pure."""

from __future__ import annotations

from dataclasses import dataclass

from services.scheduler.placement.labels import Condition, conditions, matches
from services.scheduler.placement.node_state import IN_MAINTENANCE, NodeState
from services.scheduler.placement.reservation import EPSILON, Reservation
from shared.models.pending_reason import PendingReason
from shared.models.work import Pending
from shared.units.sizes import GB


@dataclass(frozen=True, slots=True)
class Reason:
    """
    One reason with its numbers in `unit`, if it has any. `unblock`: the event that would end it, None if nothing on
    this node would.
    """

    code: PendingReason
    text: str
    need: float | None = None
    have: float | None = None
    total: float | None = None
    unit: str | None = None
    unblock: str | None = None

    @property
    def ever(self) -> bool:
        """True if the reason can end without a change of the node."""
        return self.unblock is not None


def fits(task: Pending, node: NodeState) -> bool:
    """Check whether `node` has room for `task` now."""
    return (
        node.ready
        and node.free_cpus + EPSILON >= task.cpus
        and node.free_memory >= task.memory
        and (not task.gpus or len(node.free_gpus) >= task.gpus)
        and (not task.ports or node.free_ports >= task.ports)
        and (not task.labels or matches(task.labels, node))
        and node.name not in task.avoid
    )


def could_ever_fit(task: Pending, node: NodeState) -> bool:
    """Check whether `node` would have room for `task` if it were empty and ready. A node that was never seen might."""
    if not node.seen:
        return node.name not in task.avoid
    return node.cpus + EPSILON >= task.cpus and node.memory >= task.memory and suits(task, node)


def suits(task: Pending, node: NodeState) -> bool:
    """Check `could_ever_fit` without cores and memory."""
    return (
        node.gpus >= task.gpus
        and len(node.ports) >= task.ports
        and (not task.labels or matches(task.labels, node))
        and node.name not in task.avoid
    )


def why_not(task: Pending, node: NodeState, reservation: Reservation | None = None) -> tuple[Reason, ...]:
    """Return every reason why `node` does not take `task` now; none if it does."""
    name = node.name
    reasons = []
    if not node.ready and node.reason == IN_MAINTENANCE:
        unblock = f"the maintenance of {name} ends"
        reasons.append(Reason(PendingReason.MAINTENANCE, f"{name} is not ready ({IN_MAINTENANCE})", unblock=unblock))
    elif not node.ready:
        text = f"{name} is not ready ({node.reason or 'it does not answer'})"
        reasons.append(Reason(PendingReason.NOT_READY, text, unblock=f"{name} is ready again"))
    if name in task.avoid:
        reasons.append(Reason(PendingReason.AVOIDED, f"{name} failed it before"))
    if not node.seen:
        return tuple(reasons)  # it has never answered, so its sizes are not known
    reasons += [
        Reason(PendingReason.LABEL, _label_text(condition, node))
        for condition in conditions(task.labels)
        if not condition.holds(node)
    ]
    if node.free_cpus + EPSILON < task.cpus:
        reasons.append(_lack(PendingReason.CPU, node, task.cpus, max(0.0, node.free_cpus), node.cpus, "cpu"))
    if node.free_memory < task.memory:
        free = max(0, node.free_memory)
        reasons.append(_lack(PendingReason.MEMORY, node, task.memory / GB, free / GB, node.memory / GB, "GB"))
    if len(node.free_gpus) < task.gpus:
        reasons.append(_lack(PendingReason.GPUS, node, task.gpus, len(node.free_gpus), node.gpus, "gpus"))
    if node.free_ports < task.ports:
        reasons.append(_lack(PendingReason.PORTS, node, task.ports, node.free_ports, len(node.ports), "ports"))
    if reservation is not None and _is_reserved(task, node, reservation):
        unblock = f"task {reservation.task_id} starts"
        reasons.append(
            Reason(PendingReason.RESERVED, f"{name} is reserved for task {reservation.task_id}", unblock=unblock)
        )
    return tuple(reasons)


def _is_reserved(task: Pending, node: NodeState, reservation: Reservation) -> bool:
    return reservation.node == node.name and reservation.task_id != task.id and not reservation.permits(task)


def _lack(code: PendingReason, node: NodeState, need: float, have: float, total: float, unit: str) -> Reason:
    if need > total + EPSILON:
        text, unblock = f"{node.name} has {number(total)} {unit} in all", None
    else:
        text, unblock = f"{node.name} has {number(have)} of {number(total)} {unit} free", f"tasks on {node.name} end"
        if suspended := sum(held.suspended for held in node.held):
            text += f"; {tasks_are(suspended)} suspended there and {'keep' if suspended > 1 else 'keeps'} the room"
            unblock += ", or suspended ones are resumed or killed"
    return Reason(code, text, need, have, total, unit, unblock)


def _label_text(condition: Condition, node: NodeState) -> str:
    value = node.labels.get(condition.name)
    if value is None:
        return f"{node.name} has no label {condition.name}"
    if condition.equal:
        return f"{node.name} has {condition.name}={value}, not {condition.value}"
    return f"{node.name} has {condition.name}={value}"


def tasks_are(count: int) -> str:
    return "1 task is" if count == 1 else f"{count} tasks are"


def number(value: float) -> str:
    """Format with at most two decimal places and no trailing zeros: 3, 0.5, 2.25."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
