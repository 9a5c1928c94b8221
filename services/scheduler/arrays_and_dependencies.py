"""What tasks have to do with each other: the loop that looks after arrays and dependencies."""

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


class Relations:
    """Brings into the book what may be offered now, beside the cycle that places it."""

    def __init__(self, settings: Settings, stores: Stores, book: Book, on_change: lifetime.Wakeup) -> None:
        """`on_change` is woken when there is more to be offered."""
        self._book = book
        self._arrays = Arrays(stores, book, poll=settings.poll_seconds)
        self._dependencies = Dependencies(stores, book, poll=settings.poll_seconds)
        self._poll = settings.poll_seconds
        self._gather = settings.gather_seconds
        self._wakeup = lifetime.Wakeup()
        self._on_change = on_change

    def note_ended(self, task_ids: Iterable[int]) -> None:
        """These tasks ended."""
        ids = list(task_ids)
        self._arrays.note_ended(ids)
        self._dependencies.note_ended(ids)
        self._wakeup.set()

    def note_cycle(self) -> None:
        """A cycle has placed what it could."""
        if self._book.arrays or self._book.gated:
            self._wakeup.set()

    async def run(self, stop: asyncio.Event, *, leads: Callable[[], bool]) -> None:
        """Look at them until `stop`, while this scheduler leads and has filled its book."""
        while await self._wakeup.wait(stop, poll=self._poll, gather=self._gather):
            if not leads():
                continue
            try:
                await self._look()
            except errors.Unavailable as error:
                log.warning("relations.failed", error=str(error))
                await lifetime.pause(stop, _RETRY)

    async def _look(self) -> None:
        made, over = await self._arrays.run()
        if over:
            self._dependencies.note_ended(over)
        if await self._dependencies.run() or made:
            self._on_change.set()
