"""Archive tasks that ended long ago: their records stay, their files are removed."""

from __future__ import annotations

import asyncio

import structlog

from shared import clock, errors
from shared.models import transitions
from shared.runtime import lifetime
from shared.settings import Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

LEASE = "ageing"
DAY = 24 * 3600.0  #: seconds
BATCH = 500  #: tasks per write
BATCHES = 20  #: per round: the files have to be removed as well
_SOON, _LATER = 60.0, 3600.0  #: seconds between rounds while there is more to do, and otherwise
_LEASE_SECONDS = 30.0


class Archiver:
    """
    Does for all users after `clean_old` days what `GET archive/{days}` does for one. The tasks themselves record the progress, so
    a crash at any step is safe; the lease only keeps several watchers from doing the same work.
    """

    def __init__(self, stores: Stores, settings: Settings, *, holder: str, now: clock.Clock = clock.now) -> None:
        self._stores = stores
        self._days = settings.clean_old
        self._holder = holder
        self._now = now

    async def run(self, stop: asyncio.Event) -> None:
        """Archive until `stop`; do nothing where `clean_old` is 0."""
        wait = 0.0
        while await lifetime.pause(stop, wait):
            try:
                wait = _SOON if self._days and await self.archive() else _LATER
            except errors.StoreUnavailable as error:
                log.warning("archival.failed", error=str(error))
                wait = _SOON

    async def archive(self) -> bool:
        """Run one round. Return whether there is more to do. Raises `errors.StoreUnavailable`."""
        before = self._now() - self._days * DAY
        archived = 0
        for _ in range(BATCHES):
            if await self._stores.leases.acquire(LEASE, self._holder, seconds=_LEASE_SECONDS) is None:
                return False
            old = await self._stores.work.over_before(before, limit=BATCH)
            changes = [transitions.archive(*one, at=self._now(), note=f"over for {self._days} days") for one in old]
            archived += len(await self._stores.tasks.transition_many(changes))
            if len(old) < BATCH:
                break
        if archived:
            log.info("tasks.archived", archived=archived, days=self._days)
        return archived == BATCH * BATCHES
