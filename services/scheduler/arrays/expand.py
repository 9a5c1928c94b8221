"""Create the children of arrays a little ahead of their placement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import structlog

from services.scheduler.arrays import intents
from services.scheduler.arrays.complete import ArrayCompletion
from services.scheduler.arrays.open_arrays import OpenArray, OpenArrays
from services.scheduler.queue.book import Book
from shared import clock
from shared.lifecycle import Intent, TaskStatus
from shared.models.task import Task
from shared.observe import metrics
from shared.rules import arrays
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

WINDOW_MOST = 2000  #: created children of an array that wait at most
AHEAD = 1.0  #: seconds that created children should last for; if they are placed sooner, more are created the next time
BATCH = 500  #: children created by one write


class Arrays:
    """
    The leader's arrays. Children are stored first, with ids that were reserved when the array was submitted, and then
    counted as made: after a crash the next leader stores some of them again, which changes nothing.
    """

    def __init__(self, stores: Stores, book: Book, *, poll: float) -> None:
        self._stores = stores
        self._book = book
        self._poll = poll
        self._opened = OpenArrays()
        self._completion = ArrayCompletion(stores, self._opened, poll=poll)
        self._seen: dict[int, object] = {}  # by parent: its entry in the book when it was last read
        self._read_at = float("-inf")
        self.note_ended = self._opened.note_ended

    async def run(self) -> tuple[bool, list[int]]:
        """
        Read open arrays, create children, end complete parents. Return whether children were created, and the ids of
        the ended parents. Raises `errors.StoreUnavailable`.
        """
        await self._read()
        waiting = self._waiting()
        made = False
        for held in self._opened.all():
            made |= await self._fill(held, waiting[held.parent.id])
        over = await self._completion.run(waiting)
        for task_id in over:
            self._forget(task_id)
        return made, over

    # --- open arrays -------------------------------------------------------------------

    async def _read(self) -> None:
        """Read new and changed parents, and all of them once per poll."""
        now = clock.monotonic()
        if now - self._read_at < self._poll:
            parents = await self._read_changed()
        else:
            self._read_at = now
            parents = await self._read_all()
        for parent in parents:
            await self._enter(parent)
            await intents.propagate(self._stores, parent)

    async def _read_changed(self) -> list[Task]:
        in_book = self._book.arrays
        new = {task_id for task_id, entry in in_book.items() if self._seen.get(task_id) is not entry}
        changed, self._opened.changed = self._opened.changed | new, set()
        self._seen.update({task_id: in_book[task_id] for task_id in new})
        return await self._stores.arrays.open_of(changed) if changed else []

    async def _read_all(self) -> list[Task]:
        self._seen = dict(self._book.arrays)
        with_children = self._waiting().keys()
        parents = await self._stores.arrays.open()
        ids = {parent.id for parent in parents}
        for task_id in self._opened.others(ids):
            self._forget(task_id)
        for task_id in with_children - ids:
            # Created by a leader that had lost the lease without knowing, after the array had ended.
            await self._stores.arrays.ask_children(task_id, Intent.KILL, at=clock.now())
        return parents

    async def _enter(self, parent: Task) -> None:
        before = self._opened.enter(parent)
        dynamic = parent.spec.dynamic
        if dynamic and (before is None or before.spec.dynamic != dynamic):
            # The gateway changed the children that existed; more were created since, from the old parent.
            await self._stores.arrays.set_dynamic_of_children(parent.id, dynamic)
        limit = intents.limit(parent)
        if limit is None:
            self._book.limits.pop(parent.id, None)
        else:
            self._book.limits[parent.id] = limit

    def _forget(self, task_id: int) -> None:
        self._opened.forget(task_id)
        self._book.limits.pop(task_id, None)
        self._book.discard([task_id])

    def _waiting(self) -> Counter[int]:
        """Count the children in lanes, by parent."""
        waiting: Counter[int] = Counter()
        for key, lane in self._book.lanes.items():
            if key.array is not None:
                waiting[key.array] += len(lane)
        return waiting

    # --- children -----------------------------------------------------------------------

    async def _fill(self, held: OpenArray, waiting: int) -> bool:
        """Create children until the window is full. True if any were created."""
        if not _makes_children(held.parent) or waiting > held.window // 2:
            return False
        now = clock.monotonic()
        if now - held.filled_at < AHEAD:
            held.window = min(held.window * 2, WINDOW_MOST)
        held.filled_at = now
        made, until = held.array.made, min(held.array.made + held.window - waiting, held.array.count)
        for first in range(made, until, BATCH):
            if not await self._make(held, range(first, min(first + BATCH, until))):
                break
        return True

    async def _make(self, held: OpenArray, positions: Sequence[int]) -> bool:
        """Create some children. False if the parent was changed meanwhile, and must be read again."""
        parent, array = held.parent, held.array
        documents = arrays.documents(parent, positions, now=clock.now())
        await self._stores.arrays.make(documents)
        made = positions[-1] + 1
        advanced = await self._stores.arrays.advance(parent.id, old=positions[0], new=made)
        self._book.add(await self._stores.work.pending_of([document["_id"] for document in documents]))
        if advanced:
            array.made = made
            metrics.CHILDREN_MADE.inc(len(positions))
        else:
            self._opened.changed.add(parent.id)
        log.info("array.children_made", task_id=parent.id, made=made, of=array.count)
        return advanced


def _makes_children(parent: Task) -> bool:
    array = arrays.array_of(parent)
    waits = parent.waiting_on or parent.intent is Intent.KILL or arrays.is_suspended(parent)
    return parent.status is TaskStatus.PENDING and not waits and array.made < array.count
