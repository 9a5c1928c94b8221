"""Compute the positions of tasks in the queue, as if there were room for all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection

from services.scheduler.policies.base import Policy
from services.scheduler.policies.view import View
from services.scheduler.queue.lanes import Lanes
from shared.models.work import Pending

FURTHEST = 2000  #: number of turns to simulate, which takes some 20 ms


def every_task(_: Pending) -> bool:
    return True


def positions(
    policy: Policy,
    ids: Collection[int],
    lanes: Lanes,
    view: View,
    *,
    may_run: Callable[[Pending], bool] = every_task,
    furthest: int = FURTHEST,
) -> dict[int, int]:
    """
    Return, for each of `ids` within the next `furthest` turns, the number of tasks before it that may run. The turns
    are those of a pass of the policy in which every task is placed.
    """
    before = 0
    simulated = policy.begin(lanes, view)
    missing, result = set(ids), dict[int, int]()
    for _ in range(furthest):
        task = simulated.pop() if missing else None
        if task is None:
            break
        if task.id in missing:
            missing.remove(task.id)
            result[task.id] = before
        before += may_run(task)
        simulated.charge(task)
    return result


def position(
    policy: Policy,
    task_id: int,
    lanes: Lanes,
    view: View,
    *,
    may_run: Callable[[Pending], bool] = every_task,
    furthest: int = FURTHEST,
) -> int | None:
    """Return the number of tasks before one that may run; None if it is not within the next `furthest` turns."""
    return positions(policy, [task_id], lanes, view, may_run=may_run, furthest=furthest).get(task_id)
