"""Carry out what owners want of tasks that are on no node."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from shared import clock, errors
from shared.broker.broker import Broker
from shared.lifecycle import Ending, Intent
from shared.models import transitions
from shared.models.transitions import Transition
from shared.models.work import WaitingKill
from shared.observe import metrics
from shared.rules.exit_codes import EXIT_KILLED
from shared.store.stores import Stores
from shared.wording import kills

log = structlog.get_logger(__name__)

_TOLD = 1000  #: ids in one hint


async def kill_waiting(stores: Stores, broker: Broker | None = None) -> int:
    """
    End the waiting tasks that are to be killed, and return how many that were. Nothing of them runs, and nothing will: a
    placement needs a task that nobody wants killed. Raises `errors.StoreUnavailable`.
    """
    now = clock.now()
    moves = [_end(task, now) for task in await stores.work.kills_of_waiting()]
    killed = await stores.tasks.transition_many(moves)
    metrics.ENDED.labels(ending=Ending.KILLED).inc(len(killed))
    if killed and broker is not None:
        await _tell(broker, sorted(killed))
    if killed:
        log.debug("tasks.killed_waiting", count=len(killed))
    return len(killed)


def _end(task: WaitingKill, now: float) -> Transition:
    return transitions.end_unplaced(
        task.id,
        task.attempt,
        task.status,
        ending=Ending.KILLED,
        exit_code=EXIT_KILLED,
        reason=kills.before_start(task.intent_by),
        at=now,
        intents=[Intent.KILL],
        about={"user": task.user, "request": task.request},
    )


async def _tell(broker: Broker, task_ids: Sequence[int]) -> None:
    """A scheduler that does not know keeps a node for one of them, and tells others that it is before them."""
    try:
        for first in range(0, len(task_ids), _TOLD):
            await broker.tell_scheduler_gone(task_ids[first : first + _TOLD])
    except errors.BrokerUnavailable:
        log.warning("kills.not_told", count=len(task_ids))  # the scheduler's audit finds them
