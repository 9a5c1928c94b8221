"""Count the ended children of arrays, and end the parents whose children are all over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from services.scheduler.arrays.open_arrays import OpenArray, OpenArrays
from shared import clock
from shared.lifecycle import Ending, Intent, TaskStatus
from shared.models import transitions
from shared.models.array import ArrayResult, ChildCounts
from shared.models.transitions import Transition
from shared.observe import metrics
from shared.rules import arrays
from shared.rules.exit_codes import EXIT_KILLED
from shared.store.stores import Stores
from shared.wording import kills

log = structlog.get_logger(__name__)

NAMED = 10  #: failed children named in the reason of the parent
SWEEP = 5  #: polls until all arrays are counted, since not every end is reported
COUNTED = 20  #: the next count of an array waits this many times as long as the last one took


class ArrayCompletion:
    """Counts arrays with ended children, as rarely as possible, and ends their parents."""

    def __init__(self, stores: Stores, opened: OpenArrays, *, poll: float) -> None:
        self._stores = stores
        self._opened = opened
        self._poll = poll
        self._swept_at = float("-inf")

    async def run(self, waiting: Mapping[int, int]) -> list[int]:
        """
        Count the arrays that are due, and return the parents that were ended. `waiting`: children in the book, by
        parent. Raises `errors.StoreUnavailable`.
        """
        now = clock.monotonic()
        if now - self._swept_at >= SWEEP * self._poll:
            # Not every end is reported.
            self._swept_at = now
            for held in self._opened.all():
                held.ended = True
        due = [held for held in self._opened.all() if await self._is_due(held, now, waiting.get(held.parent.id, 0))]
        if not due:
            return []
        began = clock.monotonic()
        tallies = await self._stores.arrays.child_counts([held.parent.id for held in due])
        next_at = now + max(self._poll, COUNTED * (clock.monotonic() - began))
        over = []
        for held in due:
            held.ended, held.count_at = False, next_at
            if await self._note(held, tallies[held.parent.id]):
                over.append(held.parent.id)
        return over

    async def _is_due(self, held: OpenArray, now: float, waiting: int) -> bool:
        parent, array = held.parent, held.array
        killed = parent.intent is Intent.KILL
        if parent.status is not TaskStatus.PENDING and not killed:
            return False
        if now >= held.count_at:
            return held.ended or killed or (parent.started_at is None and array.made > 0)
        # A check for the last end costs less than a count.
        last = held.ended and not waiting and (killed or array.made == array.count)
        return last and not await self._stores.arrays.has_active(parent.id)

    async def _note(self, held: OpenArray, tally: ChildCounts) -> bool:
        """Store the progress of the children. True if all were over and the parent was ended."""
        parent, array = held.parent, held.array
        if not tally.active and (array.made == array.count or parent.intent is Intent.KILL):
            return await self._end(held)
        started_at = parent.started_at
        if started_at is None and tally.placed + tally.over:
            started_at = await self._stores.arrays.started_at(parent.id)
        if (tally.over, started_at) != (array.over, parent.started_at):
            await self._stores.arrays.note(parent.id, over=tally.over, started_at=started_at)
            array.over, parent.started_at = tally.over, started_at
        return False

    async def _end(self, held: OpenArray) -> bool:
        outcome = await self._stores.arrays.result(held.parent.id, named=NAMED)
        transition = _ending(held, outcome, clock.now())
        if await self._stores.tasks.transition(transition) is None:
            self._opened.changed.add(held.parent.id)
            return False
        metrics.ENDED.labels(ending=transition.fields["ending"]).inc()
        log.info("array.over", task_id=held.parent.id, children=held.array.count, failures=outcome.failures)
        return True


def _ending(held: OpenArray, outcome: ArrayResult, now: float) -> Transition:
    """Return the transition that ends a parent. A kill after the end of the last child changes nothing."""
    parent, array = held.parent, held.array
    killed = parent.intent is Intent.KILL
    fields: dict[str, Any] = {"array.over": array.count, "started_at": outcome.started_at}
    if killed and outcome.succeeded < array.count:
        killing = kills.reason(parent.intent_by) if parent.intent_by else "killed"
        reason = f"{killing}; {outcome.succeeded} of {array.count} children had ended with exit code 0"
        fields |= {"ending": Ending.KILLED, "exit_code": EXIT_KILLED, "reason": reason}
    else:
        code, text = arrays.ending(array, outcome.failed, failures=outcome.failures)
        fields |= {"ending": Ending.EXITED, "exit_code": code, "reason": text}
    ended_at = now if outcome.ended_at is None else outcome.ended_at
    return transitions.end_array(parent, fields=fields, ended_at=ended_at, was_killed=killed, at=now)
