"""Propagate the intent of an array to its children."""

from __future__ import annotations

from shared import clock
from shared.lifecycle import PLACED, Intent, IntentResult, TaskStatus
from shared.models.task import Task
from shared.rules import arrays
from shared.store.stores import Stores


async def propagate(stores: Stores, parent: Task) -> None:
    """
    Set the intent of `parent` on its children. Repeat while the array is open: some children may not have existed the
    first time. Raises `errors.StoreUnavailable`.
    """
    at = parent.intent_at or clock.now()
    ask = stores.arrays.ask_children
    if parent.intent is Intent.KILL:
        await ask(parent.id, Intent.KILL, at=at, by=parent.intent_by)
        return
    for by, ranges in arrays.killers(parent).items():
        await ask(parent.id, Intent.KILL, at=at, ranges=ranges, by=by)
    if arrays.is_suspended(parent):
        await ask(parent.id, Intent.SUSPEND, at=at, statuses=[TaskStatus.RUNNING], by=parent.intent_by)
    if parent.intent is Intent.SUSPEND:
        await stores.tasks.answer(parent.id, Intent.SUSPEND, IntentResult.SUSPENDED, attempt=parent.attempt)
    elif parent.intent is Intent.RESUME:
        await ask(parent.id, Intent.RESUME, at=at, statuses=PLACED, by=parent.intent_by)
        await stores.tasks.answer(parent.id, Intent.RESUME, IntentResult.RESUMED, attempt=parent.attempt)


def limit(parent: Task) -> int | None:
    """Return how many children may be placed at a time; None for any number."""
    if parent.intent is Intent.KILL or arrays.is_suspended(parent):
        return 0
    return arrays.array_of(parent).max_concurrent
