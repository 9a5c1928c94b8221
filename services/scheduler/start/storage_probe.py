"""Look whether the shared directory can be written, before a task's start is what finds out."""

from __future__ import annotations

import asyncio

import structlog

from services.scheduler.start.installation_errors import EVERYWHERE, Ailments
from shared import clock, errors
from shared.storage.directories import TaskDirectories

log = structlog.get_logger(__name__)

TIMEOUT = 5.0  #: seconds that a file system is given: one that hangs counts as one that fails
HANGS = "the file system does not answer"


class StorageProbe:
    """One look at a time: a file system that hangs keeps one thread, not more and more of them."""

    def __init__(self, directories: TaskDirectories, ailments: Ailments, *, every: float) -> None:
        """It is looked at `every` so many seconds."""
        self._seconds = 2 * every + TIMEOUT
        self._directories = directories
        self._ailments = ailments
        self._look: asyncio.Task[float] | None = None
        self._is_well = True

    async def is_well(self) -> bool:
        """Look, and say what was found."""
        await self.look()
        return self._is_well

    async def look(self) -> None:
        """Write a little there. While that fails nothing is started anywhere."""
        if self._look is None:
            self._look = asyncio.create_task(asyncio.to_thread(self._directories.probe), name="storage-probe")
        done, _ = await asyncio.wait({self._look}, timeout=TIMEOUT)
        if not done:
            self._note(HANGS)
            return
        (look,) = done
        self._look = None
        try:
            look.result()
        except errors.StorageUnavailable as error:
            self._note(error.trouble)
        else:
            self._note(None)

    def _note(self, trouble: str | None) -> None:
        if trouble is not None:
            reason = f"{trouble}: the shared directory"
            self._ailments.keep(EVERYWHERE, reason, now=clock.monotonic(), seconds=self._seconds)
        elif not self._is_well:
            self._ailments.heal(EVERYWHERE)
        if self._is_well is not (trouble is None):
            self._is_well = trouble is None
            log.warning("storage.usable" if self._is_well else "storage.unusable", trouble=trouble)
