"""Carry out kills of tasks that are on no node."""

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

_HINTED = 1000  #: ids in one hint


async def kill_waiting(stores: Stores, broker: Broker | None = None) -> int:
    """
    End the waiting tasks whose intent is a kill, and return their number. They have no run and get none: a task with an intent
    is never placed. Raises `errors.StoreUnavailable`.
    """
    now = clock.now()
    changes = [_end(task, now) for task in await stores.work.kills_of_waiting()]
    killed = await stores.tasks.transition_many(changes)
    metrics.ENDED.labels(ending=Ending.KILLED).inc(len(killed))
    if killed and broker is not None:
        await _send_hints(broker, sorted(killed))
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


async def _send_hints(broker: Broker, task_ids: Sequence[int]) -> None:
    """Notify the scheduler, which otherwise keeps reservations and pending reasons for these tasks until its audit."""
    try:
        for first in range(0, len(task_ids), _HINTED):
            await broker.tell_scheduler_gone(task_ids[first : first + _HINTED])
    except errors.BrokerUnavailable:
        log.warning("kills.hint_not_sent", count=len(task_ids))  # the scheduler's audit finds them
