"""Check that the shared directory can be written, before the start of a task fails by it."""

from __future__ import annotations

import asyncio

import structlog

from services.scheduler.start.installation_errors import EVERYWHERE, InstallationErrors
from shared import clock, errors
from shared.storage.directories import TaskDirectories

log = structlog.get_logger(__name__)

TIMEOUT = 5.0  #: seconds that the file system has to answer; one that hangs counts as one that fails
HANGS = "the file system does not answer"


class StorageProbe:
    """One check at a time: a file system that hangs blocks one thread, not more and more of them."""

    def __init__(self, directories: TaskDirectories, node_errors: InstallationErrors, *, every: float) -> None:
        """`every`: seconds between two checks by the caller."""
        self._seconds = 2 * every + TIMEOUT
        self._directories = directories
        self._errors = node_errors
        self._probe: asyncio.Task[float] | None = None
        self._is_well = True

    async def is_well(self) -> bool:
        """Check, and return whether the directory can be written."""
        await self.check()
        return self._is_well

    async def check(self) -> None:
        """Write a small file. While that fails, nothing is started anywhere."""
        if self._probe is None:
            self._probe = asyncio.create_task(asyncio.to_thread(self._directories.probe), name="storage-probe")
        done, _ = await asyncio.wait({self._probe}, timeout=TIMEOUT)
        if not done:
            self._note(HANGS)
            return
        (probe,) = done
        self._probe = None
        try:
            probe.result()
        except errors.StorageUnavailable as error:
            self._note(error.trouble)
        else:
            self._note(None)

    def _note(self, trouble: str | None) -> None:
        if trouble is not None:
            reason = f"{trouble}: the shared directory"
            self._errors.keep(EVERYWHERE, reason, now=clock.monotonic(), seconds=self._seconds)
        elif not self._is_well:
            self._errors.clear(EVERYWHERE)
        if self._is_well is not (trouble is None):
            self._is_well = trouble is None
            log.warning("storage.usable" if self._is_well else "storage.unusable", trouble=trouble)
