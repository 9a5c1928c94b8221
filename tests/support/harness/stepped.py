"""
A whole system that runs step by step: real stores, gateway, scheduler and watchers, no loops, and a clock that the test
moves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from services.api.clients.scheduler import LeadingScheduler
from services.scheduler.service import SchedulerService
from services.watcher import service as watcher_service
from services.watcher.limits.time_quotas import TimeQuotas
from services.watcher.reconcile import waiting_kills
from shared import clock
from shared.broker.broker import Broker
from shared.executors import fake, types
from shared.models.system.lease import Lease
from shared.models.task import Task
from shared.settings import Settings
from shared.store.stores import Stores
from tests.support.harness.gateway import Gateway

ROUNDS = 40  #: rounds after which an undisturbed system must be idle


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._now, self._monotonic = time.time(), time.monotonic()
        patch.setattr(clock, "now", lambda: self._now)
        patch.setattr(clock, "monotonic", lambda: self._monotonic)

    def go_on(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds


class Stepped:
    """One gateway, one leading scheduler, a watcher of each node; they act only when called."""

    def __init__(
        self, settings: Settings, stores: Stores, broker: Broker, gateway: Gateway, patch: pytest.MonkeyPatch
    ) -> None:
        self.settings = settings
        self.stores = stores
        self.broker = broker
        self.gateway = gateway
        self.time = Time(patch)
        self.executor = fake.FakeExecutor()
        self.scheduler = self._scheduler()
        self.watcher = self._watcher()
        self._epoch = 0

        async def asked(_: object, method: str, path: str, **__: Any) -> Any:
            # Hints, without a network.
            found = await self.scheduler._explainer.explain(int(path.rpartition("/")[2]))
            return None if found is None else orjson.loads(orjson.dumps(found))

        patch.setattr(LeadingScheduler, "_ask", asked)
        patch.setattr(watcher_service, "_watch", _idle)

    # --- to begin and to end

    async def begin(self, nodes: Sequence[types.NodeReport], **settings: Any) -> None:
        """Clear the stores and set these nodes."""
        for name in await self.stores.database.list_collection_names():
            await self.stores.database[name].delete_many({})
        while await self.broker.dequeue(1000):
            pass
        self.settings = self.settings.model_copy(update=settings)
        self.executor = fake.FakeExecutor(nodes)
        self.watcher = self._watcher()
        await self.lead()

    async def end(self) -> None:
        await self.scheduler._dispatcher.drain(1.0)
        for node in list(self.watcher._held):
            await self.watcher._release(node, give_back=False)
        await self.executor.close()

    # --- what its loops do

    async def lead(self) -> None:
        """Let another scheduler take over, which knows only what is stored."""
        await self.scheduler._dispatcher.drain(1.0)
        self._epoch += 1
        self.scheduler = scheduler = self._scheduler()
        scheduler._lease = Lease("scheduler", "stepped", self._epoch, float("inf"))
        scheduler._epoch_taken = self._epoch
        await self._observe()
        await scheduler._audit.take_over()
        if scheduler._policy.needs_shares:
            await scheduler._usage.read()

    async def round(self) -> None:
        """Run everything once: each watcher reconciles, and the scheduler plans."""
        await self.look()
        await self.cycle()

    async def look(self) -> None:
        """Read everything that a plan needs."""
        await self._watch()
        await self._observe()
        audit = self.scheduler._audit
        await audit.check_maintenance()
        await audit.check_allocations()
        await audit.check_book()
        await self.scheduler._cycle.read_queue()
        await self.scheduler._relations._advance()

    async def cycle(self) -> None:
        """Run one cycle, with all the passes it asks for and the resulting starts."""
        await self.scheduler._lead(self._epoch)
        dispatcher = self.scheduler._dispatcher
        while dispatcher.under_way:
            await asyncio.wait(dispatcher._under_way.values())
        await self.gateway.context.hints._send()

    async def quiet(self) -> None:
        """Run rounds until nothing changes."""
        before: object = None
        for _ in range(ROUNDS):
            self.time.go_on(1.0)
            await self.round()
            now = await self._state()
            if now == before:
                return
            before = now
        raise AssertionError(f"after {ROUNDS} rounds it still moves: {now}")

    async def give_up(self, node: str) -> None:
        """Declare a node lost: its watcher ends its runs or restarts them elsewhere."""
        watch = self._watch_of(node)
        watch._settler.note_node(lost=True)
        await watch._enactor._recorder.lose(await self.stores.work.placed(node), silent=600.0)
        await watch._settler._settle_some()

    async def tasks(self) -> list[Task]:
        return [Task.model_validate(document) async for document in self.stores.database["tasks"].find().sort("_id", 1)]

    # --- parts

    def _scheduler(self) -> SchedulerService:
        return SchedulerService(self.settings, self.stores, self.broker, self.executor)

    def _watcher(self) -> watcher_service.WatcherService:
        return watcher_service.WatcherService(self.settings, self.stores, self.broker, self.executor)

    async def _observe(self) -> None:
        reports = await self.scheduler._without_unreachable(await self.executor.nodes())
        self.scheduler._cluster.observe(reports, now=clock.now())

    def _watch_of(self, node: str) -> Any:
        if node not in self.watcher._held:
            self.watcher._take(node, Lease(f"node:{node}", "stepped", 1, float("inf")))
        return self.watcher._held[node].watch

    async def _watch(self) -> None:
        await waiting_kills.kill_waiting(self.stores, self.broker)
        await TimeQuotas(self.stores, self.broker, self.settings, holder="stepped").check()
        for node in self.executor.reports.keys() - self.executor.faults.down.keys():
            watch = self._watch_of(node)
            await watch._carry_out_intents()
            while stops := watch._enactor._stops:
                await asyncio.wait(stops.values())
            await watch.reconcile()
            await watch._settler._settle_some()

    async def _state(self) -> object:
        fields = ("status", "attempt", "array.made", "array.over", "waiting_on", "settled", "intent", "started_at")
        return [document async for document in self.stores.database["tasks"].find({}, fields).sort("_id", 1)]


async def _idle(census: object, watch: object, stop: asyncio.Event) -> None:
    """Replace the loops of a node's watcher."""
    await stop.wait()
