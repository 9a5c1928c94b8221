"""End running tasks whose user or project has used up a time quota, which no placement can foresee."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from shared import clock, errors
from shared.broker.broker import Broker
from shared.lifecycle import Ending, TaskStatus
from shared.models.quota import Quota, Scope, Taken, scopes_of
from shared.models.system.lease import Lease
from shared.models.task import Cause
from shared.models.work import Placed
from shared.runtime import lifetime
from shared.settings import Settings
from shared.store.stores import Stores
from shared.units import durations

log = structlog.get_logger(__name__)

LEASE = "time-quotas"
_SHORTEST = 0.05  #: seconds between two checks


class TimeQuotas:
    """
    Checks each time quota at the earliest moment it can be used up. The lease keeps several watchers from doing the same work;
    compare-and-set keeps it correct without.
    """

    def __init__(self, stores: Stores, broker: Broker, settings: Settings, *, holder: str) -> None:
        self._stores = stores
        self._broker = broker
        self._poll = settings.poll_seconds
        self._seconds = settings.lease_seconds
        self._holder = holder

    async def run(self, stop: asyncio.Event) -> None:
        """Check until `stop`."""
        lease: Lease | None = None
        while not stop.is_set():
            wait = self._poll
            try:
                lease = await self._stores.leases.acquire(LEASE, self._holder, seconds=self._seconds)
                if lease is not None:
                    wait = min(wait, await self.check())
            except errors.Unavailable as error:
                log.warning("time_quotas.not_checked", error=str(error))
            await lifetime.pause(stop, max(_SHORTEST, wait))

    async def check(self) -> float:
        """
        End the tasks of used-up quotas. Return the seconds until the next quota can be used up. Raises `errors.StoreUnavailable`.
        """
        limits = await self._stores.quotas.limits()
        timed = {scope: quota for scope, quota in limits.items() if quota.limit.seconds > 0}
        if not timed:
            return self._poll
        placed = await self._stores.work.placed()
        running = {scope: _running_of(scope, placed) for scope in timed}
        timed = {scope: quota for scope, quota in timed.items() if running[scope]}
        if not timed:
            return self._poll
        taken = await self._stores.quotas.taken(timed)
        spent = {scope: quota for scope, quota in timed.items() if left(quota, taken[scope]) <= 0}
        await self._end(spent, running)
        waits = [left(timed[scope], taken[scope]) / len(running[scope]) for scope in timed.keys() - spent.keys()]
        return min(waits, default=self._poll)

    async def _end(self, spent: Mapping[Scope, Quota], running: Mapping[Scope, Sequence[Placed]]) -> None:
        ended = 0
        for scope, quota in spent.items():
            reason = f"the time quota of {scope.key} is used up: {durations.shown(quota.limit.seconds)}"
            cause = Cause(ending=Ending.QUOTA_REACHED, reason=reason)
            for task in running[scope]:
                ended += await self._stores.tasks.expire(task.id, task.attempt, cause, at=clock.now())
        if ended:
            log.info("tasks.time_used_up", count=ended)
            try:
                await self._broker.tell_watcher_asked()
            except errors.BrokerUnavailable:
                log.warning("ends.hint_not_sent", count=ended)  # the watchers' poll finds them


def left(quota: Quota, taken: Taken) -> float:
    """Return the seconds left of a quota, counting finished and running tasks."""
    return quota.limit.seconds - taken.all.seconds


def _running_of(scope: Scope, placed: Sequence[Placed]) -> list[Placed]:
    return [
        task
        for task in placed
        if task.status is TaskStatus.RUNNING and task.cause is None and scope in scopes_of(task.user, task.project)
    ]
