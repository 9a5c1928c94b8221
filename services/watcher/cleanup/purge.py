"""
Remove the files of archived tasks, and the files and records of deleted tasks.

`archival` archives old tasks; it, users and the gateway set the field `purge` that this loop reads.
"""

from __future__ import annotations

import asyncio

import structlog

from shared import errors
from shared.models.task import Place, Purge
from shared.runtime import lifetime
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

_BATCH = 100


class Purger:
    """
    Carries out the `purge` field of tasks. It is written before anything is removed and cleared after, so a crash at any step is
    safe: removing twice is fine.
    """

    def __init__(self, stores: Stores, directories: TaskDirectories, *, poll: float) -> None:
        self._stores = stores
        self._directories = directories
        self._poll = poll

    async def run(self, stop: asyncio.Event) -> None:
        """Purge until `stop`."""
        async for _ in lifetime.every(stop, self._poll):
            try:
                while not stop.is_set() and await self._purge_some():
                    pass
            except errors.StoreUnavailable as error:
                log.warning("purge.failed", error=str(error))

    async def _purge_some(self) -> bool:
        """Purge one batch. Return whether another may be waiting."""
        due = await self._stores.work.to_purge(limit=_BATCH)
        done = [await self._purge(*one) for one in due]
        return len(due) == _BATCH and any(done)

    async def _purge(self, task_id: int, place: Place, purge: Purge) -> bool:
        try:
            await self._directories.remove(place)
        except errors.StorageError as error:
            log.warning("purge.files_not_removed", task_id=task_id, error=str(error))
            return False
        await self._stores.tasks.purged(task_id, purge)
        log.info("task.purged", task_id=task_id, purge=purge)
        return True
