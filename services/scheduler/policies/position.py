"""Where tasks stand in the queue: what would be offered before them if there was room for everything."""

from __future__ import annotations

from collections.abc import Callable, Collection

from services.scheduler.policies.base import Policy
from services.scheduler.policies.view import View
from services.scheduler.queue.lanes import Lanes
from shared.models.work import Pending

FURTHEST = 2000  #: turns looked ahead: some 20 ms


def everything(_: Pending) -> bool:
    return True


def positions(
    policy: Policy,
    ids: Collection[int],
    lanes: Lanes,
    view: View,
    *,
    may_run: Callable[[Pending], bool] = everything,
    furthest: int = FURTHEST,
) -> dict[int, int]:
    """
    For those of `ids` that are among the next `furthest` turns, how many tasks come before that may run. The turns are those of a
    whole pass in which everything is placed, so they are the policy's own, whichever it is.
    """
    before = 0
    turn = policy.begin(lanes, view)
    wanted, found = set(ids), dict[int, int]()
    for _ in range(furthest):
        task = turn.pop() if wanted else None
        if task is None:
            break
        if task.id in wanted:
            wanted.remove(task.id)
            found[task.id] = before
        before += may_run(task)
        turn.charge(task)
    return found


def position(
    policy: Policy,
    task_id: int,
    lanes: Lanes,
    view: View,
    *,
    may_run: Callable[[Pending], bool] = everything,
    furthest: int = FURTHEST,
) -> int | None:
    """How many tasks come before one that may run; None where it is not among the next `furthest` turns."""
    return positions(policy, [task_id], lanes, view, may_run=may_run, furthest=furthest).get(task_id)
