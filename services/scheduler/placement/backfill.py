"""
Reserve a node for the first task that finds no room, so that small tasks do not overtake it for ever: pure. One
reservation at a time is EASY backfilling (Lifka, The ANL/IBM SP scheduling system, 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.scheduler.placement import feasibility
from services.scheduler.placement.node_state import Allocation, NodeState
from services.scheduler.placement.reservation import Amounts, Reservation, free_of, need_of
from shared.models.work import Pending


@dataclass(frozen=True, slots=True)
class Rules:
    """
    Inputs of a reservation. `now`: seconds since the epoch. `reserve_after`: seconds that a task waits before it
    reserves a node where the ends of tasks are not known; until then smaller tasks use that node. `maxlifespan`:
    seconds that any task may run at most. `last`: the reservation of the previous pass.
    """

    now: float = 0.0
    reserve_after: float = 60.0
    maxlifespan: float | None = None
    last: Reservation | None = None


def reserve(task: Pending, nodes: Sequence[NodeState], rules: Rules) -> Reservation | None:
    """
    Reserve the node where `task`, which has no room now, can start soonest. None if no node could ever take it, or if
    it has not waited long enough.
    """
    possible = [node for node in nodes if node.ready and feasibility.could_ever_fit(task, node)]
    last = rules.last if rules.last and rules.last.task_id == task.id else None
    soonest = _soonest(task, possible, rules.now, last.node if last else None)
    if soonest is not None:
        return _reservation(task, *soonest, rules)
    if not possible or rules.now - task.queued_at < rules.reserve_after:
        return None
    return _guessed(task, possible, rules, last)


def expected_start(task: Pending, node: NodeState, now: float) -> float | None:
    """Return when `node` has room for `task` at the latest; None if that depends on a task without a known end."""
    need, free = need_of(task), free_of(node)
    if free.holds(need):
        return now
    for until, held in sorted(_ending(node), key=lambda pair: pair[0]):
        free += _amounts(held)
        if free.holds(need):
            return max(now, until)
    return None


def _guessed(task: Pending, nodes: Sequence[NodeState], rules: Rules, last: Reservation | None) -> Reservation:
    """
    Reserve the node that is likely to be free first. Changing the node with each pass would reserve none of them long
    enough, but its tasks may never end. So each reservation has a patience, and the next one twice as much.
    """
    kept = next((node for node in nodes if last and last.start is None and node.name == last.node), None)
    if last is not None and kept is not None and 0 <= rules.now - last.since < last.patience:
        node, since, patience = kept, last.since, last.patience
    else:
        node = min(nodes, key=lambda node: (_guess(task, node, rules.now), _lack(task, node), node.name))
        since, patience = rules.now, 2 * last.patience if last and kept else max(1.0, rules.reserve_after)
    spare = free_of(node) - need_of(task)
    return Reservation(task.id, task.shape, node.name, None, spare, rules.now, rules.maxlifespan, since, patience)


def _guess(task: Pending, node: NodeState, now: float) -> float:
    """Estimate when `node` has room for `task`, if tasks without a known end run as long again as they have so far."""
    need, free, then = need_of(task), free_of(node), now
    ends = [held.until if held.until is not None else now + _age(held, now) for held in node.held]
    for end, held in sorted(zip(ends, node.held, strict=True), key=lambda pair: pair[0]):
        if free.holds(need):
            break
        free += _amounts(held)
        then = max(then, end)
    return then


def _age(held: Allocation, now: float) -> float:
    return 0.0 if held.since is None else max(0.0, now - held.since)


def _soonest(task: Pending, nodes: Sequence[NodeState], now: float, last: str | None) -> tuple[NodeState, float] | None:
    """Return the node where `task` is expected to start first, and when. Among equal nodes `last` is kept."""
    best: tuple[NodeState, float] | None = None
    for node in sorted(nodes, key=lambda node: node.name != last):
        first = min((until for until, _ in _ending(node)), default=None)
        if first is None or (best is not None and max(now, first) >= best[1]):
            continue  # cannot be sooner than the best so far
        start = expected_start(task, node, now)
        if start is not None and (best is None or start < best[1]):
            best = (node, start)
    return best


def _reservation(task: Pending, node: NodeState, start: float, rules: Rules) -> Reservation:
    free = free_of(node)
    for until, held in _ending(node):
        if until <= start:
            free += _amounts(held)
    return Reservation(task.id, task.shape, node.name, start, free - need_of(task), rules.now, rules.maxlifespan)


def _ending(node: NodeState) -> list[tuple[float, Allocation]]:
    return [(held.until, held) for held in node.held if held.until is not None]


def _amounts(held: Allocation) -> Amounts:
    return Amounts(held.cpus, held.memory, len(held.gpus), len(held.ports))


def _lack(task: Pending, node: NodeState) -> float:
    """Return the largest share of a resource of `node` that must become free for `task`."""
    return max(
        (task.cpus - node.free_cpus) / node.cpus,
        (task.memory - node.free_memory) / node.memory,
        (task.gpus - len(node.free_gpus)) / max(1, node.gpus),
    )
