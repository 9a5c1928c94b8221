"""Watch all followed tasks with one read, a few times a second."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog

from shared import errors
from shared.models.work import Progress

log = structlog.get_logger(__name__)

_INTERVAL = 0.25  #: seconds
_RETRY = 2.0  #: seconds after MongoDB did not answer

Read = Callable[[Sequence[int]], Awaitable[Mapping[int, Progress]]]


class TaskWatch:
    """Watches tasks for any number of followers."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._watched: Counter[int] = Counter()
        self._known: dict[int, Progress | None] = {}
        self._changed = asyncio.Condition()
        self._loop: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, task_id: int) -> Iterator[Watched]:
        """Watch a task for as long as the context lasts."""
        self._watched[task_id] += 1
        if self._loop is None:
            self._loop = asyncio.create_task(self._run(), name="task-watch")
        try:
            yield Watched(self, task_id)
        finally:
            self._watched[task_id] -= 1
            if not self._watched[task_id]:
                del self._watched[task_id]
                self._known.pop(task_id, None)
            if not self._watched and self._loop is not None:
                self._loop.cancel()
                self._loop = None

    async def wait(self, task_id: int, before: Progress | None, *, known: bool) -> Progress | None:
        async with self._changed:
            await self._changed.wait_for(
                lambda: task_id in self._known and not (known and self._known[task_id] == before)
            )
            return self._known[task_id]

    async def _run(self) -> None:
        while True:
            ids = sorted(self._watched)
            wait = _INTERVAL
            try:
                progress = await self._read(ids)
            except errors.StoreUnavailable as error:
                log.warning("task_watch.not_read", error=str(error))
                wait = _RETRY
            except Exception:
                # Followers wait for this loop: it must outlive whatever one read meets.
                log.exception("task_watch.failed")
                wait = _RETRY
            else:
                async with self._changed:
                    self._known.update({one: progress.get(one) for one in ids if one in self._watched})
                    self._changed.notify_all()
            await asyncio.sleep(wait)


class Watched:
    """A task that one follower watches."""

    def __init__(self, watch: TaskWatch, task_id: int) -> None:
        self._watch = watch
        self._id = task_id
        self._is_known = False
        self._last: Progress | None = None

    async def now(self) -> Progress | None:
        """Return its last known progress; None if the task was deleted."""
        return self._last if self._is_known else await self.changed()

    async def changed(self) -> Progress | None:
        """Wait until its progress changes and return it; None if the task was deleted."""
        self._last = await self._watch.wait(self._id, self._last, known=self._is_known)
        self._is_known = True
        return self._last
