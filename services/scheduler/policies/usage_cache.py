"""Cache usage and priorities of users and projects between two reads of MongoDB."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from services.scheduler.policies import usage_view
from services.scheduler.policies.view import View
from shared import clock
from shared.models.usage import window_start
from shared.models.usage_sums import UsageSum
from shared.models.work import Pending
from shared.store.usage_views import UsageViews

Charges = dict[usage_view.Owner, usage_view.Charge]

WHOLE = 3600.0  #: seconds between two reads of the whole window; in between only the open days are read
OPEN_DAYS = 2  #: today, and yesterday, whose last attempts may be accounted late


class UsageCache:
    """
    A copy of usage and priorities, plus a charge for each task placed since it was read, which counts from the next
    pass on.
    """

    def __init__(self, store: UsageViews, *, days: int) -> None:
        """`days`: length of the usage window."""
        self._store = store
        self._days = days
        self._whole_at: float | None = None
        self._by_day: dict[float, list[UsageSum]] = {}
        self._snapshot = usage_view.Snapshot(0.0)
        self._recent: Charges = {}
        self._earlier: Charges = {}  # charged before the read under way began, which may not include it
        self._is_known = False
        self._reading = asyncio.Lock()  # two reads at once would drop charges that the other does not include

    async def ensure_known(self) -> None:
        """Read everything unless that was done once. Raises `errors.StoreUnavailable`."""
        async with self._reading:
            if not self._is_known:
                await self._read()

    async def read(self) -> None:
        """Read again. Raises `errors.StoreUnavailable`, and then keeps the old values."""
        async with self._reading:
            await self._read()

    async def _read(self) -> None:
        for owner, charge in self._recent.items():
            self._earlier[owner] = self._earlier.get(owner, usage_view.Charge()) + charge
        self._recent = {}
        now = clock.now()
        # Running tasks first: one that ends in between is counted twice until the next read, rather than not at all.
        running = await self._store.running(at=now)
        await self._read_ended(now)
        ended = usage_view.merged(taken for day in self._by_day.values() for taken in day)
        self._snapshot = usage_view.Snapshot(now, ended, tuple(running), await self._store.priorities())
        self._earlier = {}
        self._is_known = True

    async def _read_ended(self, now: float) -> None:
        start = window_start(now, days=self._days)
        if self._whole_at is None or now - self._whole_at >= WHOLE:
            self._by_day = await self._store.ended(since=start)
            self._whole_at = now
            return
        since = max(start, window_start(now, days=OPEN_DAYS))
        fresh = await self._store.ended(since=since)
        self._by_day = {day: taken for day, taken in self._by_day.items() if start <= day < since} | fresh

    def charge(self, placed: Iterable[Pending]) -> None:
        """Charge the owners of placed tasks."""
        for task in placed:
            owner = (task.user, task.project)
            self._recent[owner] = self._recent.get(owner, usage_view.Charge()).plus(task)

    def view(self, now: float) -> View:
        """Return the usage of users and projects as of `now` (seconds since the epoch)."""
        return usage_view.view(self._snapshot, (self._earlier, self._recent), now=now)
