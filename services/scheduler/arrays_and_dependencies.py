"""The loop that advances arrays and dependencies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from services.scheduler.arrays.expand import Arrays
from services.scheduler.dependencies import Dependencies
from services.scheduler.queue.book import Book
from shared import errors
from shared.runtime import lifetime
from shared.settings import Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

_RETRY = 0.5  #: seconds


class ArraysAndDependencies:
    """Adds children of arrays and released tasks to the book, beside the cycle that places them."""

    def __init__(self, settings: Settings, stores: Stores, book: Book, on_change: lifetime.Wakeup) -> None:
        """`on_change` is woken when there are more tasks to place."""
        self._book = book
        self._arrays = Arrays(stores, book, poll=settings.poll_seconds)
        self._dependencies = Dependencies(stores, book, poll=settings.poll_seconds)
        self._poll = settings.poll_seconds
        self._gather = settings.gather_seconds
        self._wakeup = lifetime.Wakeup()
        self._on_change = on_change

    def note_ended(self, task_ids: Iterable[int]) -> None:
        """Record that these tasks ended."""
        ids = list(task_ids)
        self._arrays.note_ended(ids)
        self._dependencies.note_ended(ids)
        self._wakeup.set()

    def note_cycle(self) -> None:
        """Wake the loop after a cycle: placements may have made room for more children."""
        if self._book.arrays or self._book.gated:
            self._wakeup.set()

    async def run(self, stop: asyncio.Event, *, leads: Callable[[], bool]) -> None:
        """Run until `stop`, while this scheduler leads and has filled its book."""
        while await self._wakeup.wait(stop, poll=self._poll, gather=self._gather):
            if not leads():
                continue
            try:
                await self._advance()
            except errors.Unavailable as error:
                log.warning("relations.failed", error=str(error))
                await lifetime.pause(stop, _RETRY)

    async def _advance(self) -> None:
        created, over = await self._arrays.run()
        if over:
            self._dependencies.note_ended(over)
        if await self._dependencies.run() or created:
            self._on_change.set()
