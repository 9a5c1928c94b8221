"""What users and projects used and how they are ranked, as the scheduler remembers it between two looks at MongoDB."""

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

WHOLE = 3600.0  #: seconds between two looks at the whole window; in between at the days in which attempts still end
OPEN_DAYS = 2  #: today, and yesterday, whose last attempts may be counted late


class Shares:
    """
    A copy of usage and priorities, and what was placed since it was made. What is placed counts from the next pass on,
    without a look at MongoDB.
    """

    def __init__(self, store: UsageViews, *, days: int) -> None:
        """`days`: the window of usage."""
        self._store = store
        self._days = days
        self._whole_at: float | None = None
        self._by_day: dict[float, list[UsageSum]] = {}
        self._found = usage_view.Snapshot(0.0)
        self._recent: Charges = {}
        self._earlier: Charges = {}  # charged before a look that is under way began, and perhaps not seen by it
        self._is_known = False
        self._turn = asyncio.Lock()  # of two looks at once, each would forget charges that the other has not seen

    async def ensure_known(self) -> None:
        """Wait until everything was read once, by whomever. Raises `errors.StoreUnavailable`."""
        async with self._turn:
            if not self._is_known:
                await self._read()

    async def read(self) -> None:
        """Look anew. Raises `errors.StoreUnavailable`; then what was known stays."""
        async with self._turn:
            await self._read()

    async def _read(self) -> None:
        for owner, charge in self._recent.items():
            self._earlier[owner] = self._earlier.get(owner, usage_view.Charge()) + charge
        self._recent = {}
        now = clock.now()
        # First what runs: a task that ends in between is counted twice until the next look, rather than not at all.
        running = await self._store.running(at=now)
        await self._read_ended(now)
        ended = usage_view.merged(taken for day in self._by_day.values() for taken in day)
        self._found = usage_view.Snapshot(now, ended, tuple(running), await self._store.priorities())
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
        """Count what was placed."""
        for task in placed:
            owner = (task.user, task.project)
            self._recent[owner] = self._recent.get(owner, usage_view.Charge()).plus(task)

    def view(self, now: float) -> View:
        """Users and projects as they stand at `now` (seconds since the epoch)."""
        return usage_view.view(self._found, (self._earlier, self._recent), now=now)
