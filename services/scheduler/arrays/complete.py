"""Count the children of arrays that ended, and end the parents of those that all did."""

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

NAMED = 10  #: failed children that a reason names
SWEEP = 5  #: polls until arrays are counted of whose children nothing was heard
COUNTED = 20  #: times as long as a count took until the next of the same array


class ArrayEnds:
    """Counts no more often than it is worth: what ended is told, and the last end is seen without counting."""

    def __init__(self, stores: Stores, opened: OpenArrays, *, poll: float) -> None:
        self._stores = stores
        self._opened = opened
        self._poll = poll
        self._swept_at = float("-inf")

    async def run(self, waiting: Mapping[int, int]) -> list[int]:
        """
        Count what is to be counted now, and return the parents that came to their end. `waiting` says how many children stand in
        the book. Raises `errors.StoreUnavailable`.
        """
        now = clock.monotonic()
        if now - self._swept_at >= SWEEP * self._poll:
            # Not every end is told.
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
        # To see whether the last one ended costs less than to count.
        last = held.ended and not waiting and (killed or array.made == array.count)
        return last and not await self._stores.arrays.has_active(parent.id)

    async def _note(self, held: OpenArray, tally: ChildCounts) -> bool:
        """Write down how far the children are. True if they were all over, and the parent is now."""
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
        move = _ending(held, outcome, clock.now())
        if await self._stores.tasks.transition(move) is None:
            self._opened.changed.add(held.parent.id)
            return False
        metrics.ENDED.labels(ending=move.fields["ending"]).inc()
        log.info("array.over", task_id=held.parent.id, children=held.array.count, failures=outcome.failures)
        return True


def _ending(held: OpenArray, outcome: ArrayResult, now: float) -> Transition:
    """The end of a parent all of whose children are over. A kill that came after the last of them changes nothing."""
    parent, array = held.parent, held.array
    killed = parent.intent is Intent.KILL
    fields: dict[str, Any] = {"array.over": array.count, "started_at": outcome.started_at}
    if killed and outcome.succeeded < array.count:
        killing = kills.reason(parent.intent_by) if parent.intent_by else "killed"
        reason = f"{killing}; {outcome.succeeded} of {array.count} children had ended with exit code 0"
        fields |= {"ending": Ending.KILLED, "exit_code": EXIT_KILLED, "reason": reason}
    else:
        code, said = arrays.ending(array, outcome.failed, failures=outcome.failures)
        fields |= {"ending": Ending.EXITED, "exit_code": code, "reason": said}
    ended_at = now if outcome.ended_at is None else outcome.ended_at
    return transitions.end_array(parent, fields=fields, ended_at=ended_at, was_killed=killed, at=now)
