"""Where tasks stand in the queue: what would be offered before them if there was room for everything."""

from __future__ import annotations

from collections.abc import Collection

from services.scheduler.lanes import Lanes
from services.scheduler.policies.base import Policy
from services.scheduler.policies.view import View

FURTHEST = 2000  #: turns looked ahead: some 20 ms


def positions(
    policy: Policy, ids: Collection[int], lanes: Lanes, view: View, *, furthest: int = FURTHEST
) -> dict[int, int]:
    """
    For those of `ids` that are among the next `furthest` turns, how many tasks come before. The turns are those of a whole pass
    in which everything is placed, so they are the policy's own, whichever it is.
    """
    turn = policy.begin(lanes, view)
    wanted, found = set(ids), dict[int, int]()
    for number in range(furthest):
        task = turn.pop() if wanted else None
        if task is None:
            break
        if task.id in wanted:
            wanted.remove(task.id)
            found[task.id] = number
        turn.charge(task)
    return found


def position(policy: Policy, task_id: int, lanes: Lanes, view: View, *, furthest: int = FURTHEST) -> int | None:
    """How many tasks come before one; None where it is not among the next `furthest` turns."""
    return positions(policy, [task_id], lanes, view, furthest=furthest).get(task_id)
