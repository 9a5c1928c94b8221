"""Make the children of arrays a little ahead of their placement, pass on what is wanted of them all, and end their parents."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from services.scheduler.pending import Book
from shared import arrays, clock, metrics
from shared.lifecycle import PLACED, Ending, Intent, Remark, TaskStatus
from shared.models.task import Task
from shared.store.arrays import Tally
from shared.store.stores import Stores
from shared.store.tasks import Transition

log = structlog.get_logger(__name__)

WINDOW_FIRST, WINDOW_MOST = 100, 2000  #: made children of an array that wait
AHEAD = 1.0  #: seconds of placing that they should last for: sooner used up, more are made the next time
BATCH = 500  #: children made by one write
NAMED = 10  #: failed children that a reason names
SWEEP = 5  #: polls until arrays are counted of whose children nothing was heard
COUNTED = 20  #: times as long as a count took until the next of the same array


@dataclass(slots=True)
class _Open:
    """An array that is not over. Times are those of the monotonic clock."""

    parent: Task
    window: int
    filled_at: float = float("-inf")
    ended: bool = True  #: children may have ended since they were counted
    count_at: float = 0.0  #: not before


class Arrays:
    """
    The leader's arrays. Children are stored first, under ids that are theirs since the array came, and then counted as made:
    whoever goes on after a crash stores some of them again, which changes nothing. Until then they cost nothing.
    """

    def __init__(self, stores: Stores, book: Book, *, poll: float) -> None:
        self._stores = stores
        self._book = book
        self._poll = poll
        self._open: dict[int, _Open] = {}
        self._seen: dict[int, object] = {}  # what stood in the book when a parent was last read
        self._ranges: list[tuple[int, int]] = []  # first id of the children and parent, of each that is open
        self._read_at = float("-inf")
        self._counted_at = float("-inf")

    def note_ended(self, task_ids: Iterable[int]) -> None:
        """These tasks ended."""
        for task_id in task_ids:
            position = bisect.bisect_right(self._ranges, (task_id, task_id))
            held = self._open.get(self._ranges[position - 1][1]) if position else None
            if held is not None and arrays.array_of(held.parent).has(task_id):
                held.ended = True

    async def run(self) -> tuple[bool, list[int]]:
        """
        Do what there is to do now. True if children were made, and the ids of the parents that came to their end. Raises
        `errors.StoreUnavailable`.
        """
        await self._read()
        now = clock.monotonic()
        waiting = self._waiting()
        made = False
        for held in list(self._open.values()):
            self._limit(held.parent)
            made |= await self._fill(held, waiting[held.parent.id])
        return made, await self._count(now, waiting)

    # --- what is open -------------------------------------------------------------------

    async def _read(self) -> None:
        """Read the parents: all of them now and then, and those at once that came or changed."""
        now = clock.monotonic()
        in_book = self._book.arrays
        if now - self._read_at >= self._poll:
            self._read_at = now
            self._seen = dict(in_book)
            parents = await self._stores.arrays.open()
            self._keep({parent.id for parent in parents})
        else:
            changed = {task_id: entry for task_id, entry in in_book.items() if self._seen.get(task_id) is not entry}
            self._seen.update(changed)
            parents = await self._stores.arrays.open_of(changed) if changed else []
        for parent in parents:
            await self._enter(parent)
            await self._pass_on(parent)

    async def _enter(self, parent: Task) -> None:
        held = self._open.get(parent.id)
        dynamic = parent.spec.dynamic
        if dynamic and (held is None or held.parent.spec.dynamic != dynamic):
            # The gateway wrote it for those that it found; more were made of the parent as it was.
            await self._stores.arrays.set_dynamic_of_children(parent.id, dynamic)
        if held is None:
            self._open[parent.id] = _Open(parent, WINDOW_FIRST)
            bisect.insort(self._ranges, (arrays.array_of(parent).first_id, parent.id))
        else:
            held.parent = parent

    def _keep(self, ids: Collection[int]) -> None:
        for task_id in self._open.keys() - ids:
            self._forget(task_id)

    def _forget(self, task_id: int) -> None:
        held = self._open.pop(task_id, None)
        if held is not None:
            self._ranges.remove((arrays.array_of(held.parent).first_id, task_id))
        self._book.limits.pop(task_id, None)
        self._book.discard([task_id])

    def _waiting(self) -> Counter[int]:
        """How many children of each array stand in the book."""
        waiting: Counter[int] = Counter()
        for key, lane in self._book.lanes.items():
            if key.array is not None:
                waiting[key.array] += len(lane)
        return waiting

    # --- what is wanted -----------------------------------------------------------------

    async def _pass_on(self, parent: Task) -> None:
        """
        Want of the children what is wanted of them all: again and again, for some were on their way when it was said first.
        """
        at = parent.intent_at or clock.now()
        ask = self._stores.arrays.ask_children
        if parent.intent is Intent.KILL:
            await ask(parent.id, Intent.KILL, at=at)
            return
        array = arrays.array_of(parent)
        if array.killed:
            await ask(parent.id, Intent.KILL, at=at, ranges=array.killed)
        if arrays.is_suspended(parent):
            await ask(parent.id, Intent.SUSPEND, at=at, statuses=[TaskStatus.RUNNING])
        if parent.intent is Intent.SUSPEND:
            await self._stores.tasks.answer(parent.id, Intent.SUSPEND, Remark.SUSPENDED, attempt=parent.attempt)
        elif parent.intent is Intent.RESUME:
            await ask(parent.id, Intent.RESUME, at=at, statuses=PLACED)
            await self._stores.tasks.answer(parent.id, Intent.RESUME, Remark.RESUMED, attempt=parent.attempt)

    def _limit(self, parent: Task) -> None:
        limit = arrays.array_of(parent).max_concurrent
        if parent.intent is Intent.KILL or arrays.is_suspended(parent):
            limit = 0
        if limit is None:
            self._book.limits.pop(parent.id, None)
        else:
            self._book.limits[parent.id] = limit

    # --- children -----------------------------------------------------------------------

    async def _fill(self, held: _Open, waiting: int) -> bool:
        """Make children until the window is full. True if any were made."""
        parent, array = held.parent, arrays.array_of(held.parent)
        if (
            parent.status is not TaskStatus.PENDING
            or parent.waiting_on
            or parent.intent is Intent.KILL
            or arrays.is_suspended(parent)
            or array.made == array.count
            or waiting > held.window // 2
        ):
            return False
        now = clock.monotonic()
        if now - held.filled_at < AHEAD:
            held.window = min(held.window * 2, WINDOW_MOST)
        held.filled_at = now
        until = min(array.made + held.window - waiting, array.count)
        for first in range(array.made, until, BATCH):
            if not await self._make(held, range(first, min(first + BATCH, until))):
                break
        return True

    async def _make(self, held: _Open, positions: Sequence[int]) -> bool:
        """Make some children. False if the parent was changed meanwhile; it is read again."""
        parent, array = held.parent, arrays.array_of(held.parent)
        documents = arrays.documents(parent, positions, now=clock.now())
        await self._stores.arrays.make(documents)
        made = positions[-1] + 1
        advanced = await self._stores.arrays.advance(parent.id, old=positions[0], new=made)
        self._book.add(await self._stores.work.pending_of([document["_id"] for document in documents]))
        if advanced:
            array.made = made
        else:
            self._seen.pop(parent.id, None)
        log.info("array.children_made", task_id=parent.id, made=made, of=array.count)
        return advanced

    # --- ends ---------------------------------------------------------------------------

    async def _count(self, now: float, waiting: Mapping[int, int]) -> list[int]:
        """Count the children of arrays some of which may have ended, and end the parents of those that all did."""
        if now - self._counted_at >= SWEEP * self._poll:
            # Not every end is told.
            self._counted_at = now
            for held in self._open.values():
                held.ended = True
        due = [held for held in self._open.values() if await self._is_due(held, now, waiting[held.parent.id])]
        if not due:
            return []
        began = clock.monotonic()
        tallies = await self._stores.arrays.tallies([held.parent.id for held in due])
        next_at = now + max(self._poll, COUNTED * (clock.monotonic() - began))
        over = []
        for held in due:
            held.ended, held.count_at = False, next_at
            if await self._note(held, tallies[held.parent.id]):
                over.append(held.parent.id)
        return over

    async def _is_due(self, held: _Open, now: float, waiting: int) -> bool:
        parent, array = held.parent, arrays.array_of(held.parent)
        killed = parent.intent is Intent.KILL
        if parent.status is not TaskStatus.PENDING and not killed:
            return False
        if now >= held.count_at:
            return held.ended or killed or (parent.started_at is None and array.made > 0)
        # To see whether the last one ended costs less than to count.
        last = held.ended and not waiting and (killed or array.made == array.count)
        return last and not await self._stores.arrays.has_active(parent.id)

    async def _note(self, held: _Open, tally: Tally) -> bool:
        parent, array = held.parent, arrays.array_of(held.parent)
        if not tally.active and (array.made == array.count or parent.intent is Intent.KILL):
            return await self._end(held)
        started_at = parent.started_at
        if started_at is None and tally.placed + tally.over:
            started_at = await self._stores.arrays.started_at(parent.id)
        if (tally.over, started_at) != (array.over, parent.started_at):
            await self._stores.arrays.note(parent.id, over=tally.over, started_at=started_at)
            array.over, parent.started_at = tally.over, started_at
        return False

    async def _end(self, held: _Open) -> bool:
        """End a parent all of whose children are over. True if it was."""
        parent, array = held.parent, arrays.array_of(held.parent)
        outcome = await self._stores.arrays.outcome(parent.id, named=NAMED)
        now = clock.now()
        fields: dict[str, Any] = {
            "array.over": array.count,
            "started_at": outcome.started_at,
            "ended_at": now if outcome.ended_at is None else outcome.ended_at,
            "intent": None,
            "settled": True,
        }
        if parent.intent is Intent.KILL and outcome.succeeded < array.count:
            fields |= {"ending": Ending.KILLED, "exit_code": 137, "reason": _killed(array.count, outcome.succeeded)}
        else:
            code, reason = arrays.ending(array, outcome.failed, failures=outcome.failures)
            fields |= {"ending": Ending.EXITED, "exit_code": code, "reason": reason}
        intents = [Intent.KILL] if parent.intent is Intent.KILL else [None, Intent.SUSPEND, Intent.RESUME]
        move = Transition(
            parent.id, parent.attempt, parent.status, TaskStatus.OVER, at=now, fields=fields, intents=intents
        )
        if await self._stores.tasks.transition(move) is None:
            self._seen.pop(parent.id, None)
            return False
        metrics.ENDED.labels(ending=fields["ending"]).inc()
        log.info("array.ended", task_id=parent.id, children=array.count, failures=outcome.failures)
        self._forget(parent.id)
        return True


def _killed(count: int, succeeded: int) -> str:
    return f"killed; {succeeded} of {count} children had ended with exit code 0"
