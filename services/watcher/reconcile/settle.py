"""Settle attempts whose end `record_ends` has written: account the usage, then remove the run."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import structlog

from services.watcher.reconcile import accounting
from shared import errors
from shared.executors.base import Executor
from shared.executors.types import Handle
from shared.models.work import Ended
from shared.runtime import lifetime
from shared.settings import Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

_BATCH = 200
_REMOVALS = 4  #: concurrent removals: they contend with starts for the engine's locks
_RETRY = 1.0  #: seconds


class Settler:
    """
    Settles the ended attempts of one node. It reads what is left to do from MongoDB, so it does not matter which process
    recorded the end.
    """

    def __init__(self, node: str, stores: Stores, executor: Executor, settings: Settings) -> None:
        self._node = node
        self._stores = stores
        self._executor = executor
        self._poll = settings.reconcile_seconds
        self._wakeup = lifetime.Wakeup()
        self._removals = asyncio.Semaphore(_REMOVALS)
        self._removed: set[Handle] = set()
        self._lost = False

    @property
    def removed(self) -> frozenset[Handle]:
        """Runs removed here after their end was counted, whose removal no event has reported yet."""
        return frozenset(self._removed)

    def confirm_removed(self, handle: Handle) -> bool:
        """Record that an event reported this removal. Return whether it was the settler's own."""
        ours = handle in self._removed
        self._removed.discard(handle)
        return ours

    def forget(self, handles: Collection[Handle]) -> None:
        """Stop expecting events about these runs: the node no longer lists them."""
        self._removed -= set(handles)

    def note_node(self, *, lost: bool) -> None:
        """Settle without removing runs while the node is `lost`: what it still has of ours is a stray when it comes back."""
        self._lost = lost

    def wake(self) -> None:
        """Settle now: an attempt ended."""
        self._wakeup.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Settle until `stop`."""
        self.wake()
        while await self._wakeup.wait(stop, poll=self._poll):
            try:
                while not stop.is_set() and await self._settle_some():
                    pass
            except errors.Unavailable as error:
                log.warning("settle.failed", node=self._node, error=str(error))
                await lifetime.pause(stop, _RETRY)

    async def _settle_some(self) -> bool:
        """Settle one batch. Return whether another may be waiting."""
        ended = await self._stores.work.unsettled(self._node, limit=_BATCH)
        rows = [row for attempt in ended if (row := accounting.row_of(attempt)) is not None]
        await self._stores.usage.add_many(rows)
        removed = await asyncio.gather(*(self._remove(attempt) for attempt in ended))
        settled = [(a.id, a.attempt) for a, gone in zip(ended, removed, strict=True) if gone]
        await self._stores.tasks.settle(settled)
        return len(ended) == _BATCH and bool(settled)

    async def _remove(self, attempt: Ended) -> bool:
        if self._lost:
            return True
        handle = Handle(self._node, attempt.id, attempt.attempt, attempt.system)
        async with self._removals:
            self._removed.add(handle)
            try:
                await self._executor.remove(handle)
            except errors.GoDockerError as error:
                log.warning("run.not_removed", task_id=attempt.id, attempt=attempt.attempt, error=str(error))
                self._removed.discard(handle)
                return False
            return True
