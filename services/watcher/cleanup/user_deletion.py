"""Delete users: carry out the requests in `deletions`, step by step."""

from __future__ import annotations

import asyncio

import structlog

from shared import clock, errors
from shared.broker.broker import Broker
from shared.models.system.lease import Lease
from shared.models.user import Deletion
from shared.runtime import lifetime
from shared.settings import Settings
from shared.storage import personal, trees
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

LEASE = "deletions"
ARRIVALS = 10  #: operations of the store, at most, between a request's authentication and its stored task


class UserDeletions:
    """
    Carries out user deletions. What is left shows what is done, and every step can be repeated, so a crash at any step is safe.
    The lease only keeps two watchers from doing the same work.
    """

    def __init__(self, stores: Stores, broker: Broker, settings: Settings, *, holder: str) -> None:
        self._stores = stores
        self._broker = broker
        self._shared_dir = settings.shared_dir.absolute()
        self._arrivals = ARRIVALS * settings.mongo_timeout
        self._poll = settings.poll_seconds
        self._seconds = settings.lease_seconds
        self._holder = holder

    async def run(self, stop: asyncio.Event) -> None:
        """Delete until `stop`."""
        lease: Lease | None = None
        async for _ in lifetime.every(stop, self._poll):
            try:
                deletions = await self._stores.deletions.list()
                if deletions:
                    lease = await self._stores.leases.acquire(LEASE, self._holder, seconds=self._seconds)
                for deletion in deletions if lease else []:
                    await self.go_on(deletion)
            except errors.Unavailable as error:
                log.warning("deletion.waits", error=str(error))

    async def go_on(self, deletion: Deletion) -> bool:
        """Take the steps that are possible now. Return whether nothing is left. Raises `errors.StoreUnavailable`."""
        user = deletion.id
        await self._stores.users.shut_out(user)
        # Each time: a task may have been in admission when the user was disabled.
        if await self._stores.owned.kill_all(user, at=clock.now(), by=deletion.asked_by):
            await self._tell_watchers()
        if await self._stores.owned.count_unfinished(user):
            return False  # running tasks may still write, and ended ones are not accounted yet
        if clock.now() < deletion.asked_at + self._arrivals:
            return False  # a request that was authenticated before may still store a task
        if await self._stores.owned.purge_all(user):
            return False  # the purger removes records and directories
        await self._stores.usage.remove_of(user)
        if not await self._remove_storage(user):
            return False
        await self._stores.projects.leave_all(user)
        await self._stores.recipes.remove_of(user)
        await self._stores.app_tokens.remove_of(user)
        await self._stores.receipts.remove_of(user)
        await self._stores.outbox.remove_of(user)
        await self._forget_bills(user)
        await self._stores.users.remove(user)
        await self._stores.deletions.done(user)
        log.info("user.deleted", user=user, asked_by=deletion.asked_by, seconds=round(clock.now() - deletion.asked_at))
        return True

    async def _remove_storage(self, user: str) -> bool:
        try:
            directory = self._shared_dir / personal.relative(user)
        except ValueError:
            return True  # no storage can exist under such a name
        try:
            await asyncio.to_thread(trees.remove, directory)
        except errors.StorageError as error:
            log.warning("deletion.files_not_removed", user=user, error=str(error))
            return False
        return True

    async def _tell_watchers(self) -> None:
        try:
            await self._broker.tell_watcher_asked()
        except errors.BrokerUnavailable:
            log.warning("kills.hint_not_sent")  # the watchers' poll finds them

    async def _forget_bills(self, user: str) -> None:
        try:
            await self._broker.forget_billing("user", user)
        except errors.BrokerUnavailable:
            log.warning("bills.not_forgotten", user=user)  # they expire by themselves
