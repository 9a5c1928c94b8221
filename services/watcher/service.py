"""The watcher's loops: lease nodes, watch the leased ones, kill waiting tasks on request."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from dataclasses import dataclass

import structlog

from services.watcher.cleanup.archival import Archiver
from services.watcher.cleanup.purge import Purger
from services.watcher.cleanup.user_deletion import UserDeletions
from services.watcher.limits.enforce import Limits
from services.watcher.limits.time_quotas import TimeQuotas
from services.watcher.mail.mailer import Mailer
from services.watcher.mail.outbox_writer import OutboxWriter
from services.watcher.node_watch import NodeWatch
from services.watcher.reconcile import waiting_kills
from services.watcher.reconcile.enact import Enactor
from services.watcher.reconcile.node_loss import NodeLoss
from services.watcher.reconcile.record_ends import Recorder
from services.watcher.reconcile.settle import Settler
from services.watcher.reconcile.zombies import ZombieCheck
from services.watcher.restore.census import Census
from services.watcher.sampling import Sampler
from shared import clock, errors
from shared.broker.broker import Broker
from shared.executors.base import Executor
from shared.http import serving
from shared.models.system.lease import Lease
from shared.observe import loop_failures, metrics
from shared.runtime import lifetime
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores
from shared.system import claims
from shared.system.claims import Claim
from shared.system.hosts import Hosts

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Held:
    """A leased node with the loops that watch it."""

    lease: Lease
    watch: NodeWatch
    configured: bool  #: False: it was removed from the configuration, and its tasks have to be ended
    stop: asyncio.Event
    work: asyncio.Task[None]


class WatcherService:
    """One watcher process. Several share the nodes: each node is leased to one."""

    def __init__(self, settings: Settings, stores: Stores, broker: Broker, executor: Executor) -> None:
        self._settings = settings
        self._stores = stores
        self._broker = broker
        self._executor = executor
        self._directories = TaskDirectories(settings.shared_dir)
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._claim = Claim(settings.shared_dir, stores.identity)
        self._held: dict[str, _Held] = {}
        self._forsaken: set[str] = set()  #: nodes with tasks that are no longer configured
        self._breaks = loop_failures.LoopFailures()
        self._wakeup = lifetime.Wakeup()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`."""
        app = serving.health_app("watcher", self.checks())

        async def http(stop: asyncio.Event) -> None:
            await serving.serve(app, stop, host=self._settings.internal_host, port=self._settings.watcher_port)

        loops: dict[str, lifetime.Loop] = {
            "http": http,
            "claim": self.watch_claim,
            "leases": self.watch_leases,
            "hosts": Hosts(self._settings, self._stores, self._executor).run,
            "forsaken": self.watch_forsaken,
            "hints": self.watch_hints,
            "waiting": self.watch_waiting,
            "purge": Purger(self._stores, self._directories, poll=self._settings.reconcile_seconds).run,
            "time-quotas": TimeQuotas(self._stores, self._broker, self._settings, holder=self._holder).run,
            "ageing": Archiver(self._stores, self._settings, holder=self._holder).run,
            "deletions": UserDeletions(self._stores, self._broker, self._settings, holder=self._holder).run,
        }
        if self._settings.smtp_host is not None:
            notifier = OutboxWriter(self._stores, self._directories, poll=self._settings.poll_seconds)
            loops |= {"notices": notifier.run, "mail": Mailer(self._stores, self._settings).run}
        loop_failures.current.set(self._breaks)
        await lifetime.run_loops(loops, stop=stop)

    def checks(self) -> dict[str, serving.Check]:
        """Return the health checks of the service's dependencies."""
        return {"mongo": self._stores.ping, "redis": self._broker.ping, "loops": self._breaks.check}

    # --- the loops ------------------------------------------------------------------------

    async def watch_leases(self, stop: asyncio.Event) -> None:
        """Take the leases of unwatched nodes, renew our own, and release nodes whose lease was lost."""
        try:
            async for _ in lifetime.every(stop, self._settings.lease_seconds / 3):
                nodes = {*self._executor.node_names(), *self._forsaken} if await self._has_claim() else set()
                await asyncio.gather(*(self._lease(node) for node in nodes))
                await asyncio.gather(*(self._release(node, give_back=True) for node in self._held.keys() - nodes))
                metrics.LEASED_NODES.set(len(self._held))
        finally:
            await asyncio.gather(*(self._release(node, give_back=True) for node in list(self._held)))

    async def watch_claim(self, stop: asyncio.Event) -> None:
        """Check whether another installation with this system's identity is alive: then no run may be touched."""
        async for _ in lifetime.every(stop, claims.BEAT):
            await self._claim.look()

    async def _has_claim(self) -> bool:
        return self._claim.is_held or await self._claim.look()

    async def watch_forsaken(self, stop: asyncio.Event) -> None:
        """Find nodes that have tasks and are no longer configured: their tasks have to be ended."""
        async for _ in lifetime.every(stop, self._settings.reconcile_seconds):
            try:
                configured = set(self._executor.node_names())
                self._forsaken = await self._stores.work.nodes_in_use() - configured
                for silence in await self._stores.unreachable_nodes.list():
                    if silence.node not in configured | self._forsaken:
                        await self._stores.unreachable_nodes.end(silence.node)
            except errors.StoreUnavailable as error:
                log.warning("forsaken.not_checked", error=str(error))

    async def watch_hints(self, stop: asyncio.Event) -> None:
        """Wake the loops that carry out intents when a hint arrives."""
        async for _ in self._broker.watcher_hints(stop):
            self._wakeup.set()
            for held in self._held.values():
                held.watch.on_asked()

    async def watch_waiting(self, stop: asyncio.Event) -> None:
        """Kill waiting tasks whose owners requested it."""
        while await self._wakeup.wait(stop, poll=self._settings.poll_seconds):
            try:
                await waiting_kills.kill_waiting(self._stores, self._broker)
            except errors.Unavailable as error:
                log.warning("waiting.failed", error=str(error))

    # --- leases ---------------------------------------------------------------------------

    async def _lease(self, node: str) -> None:
        held = self._held.get(node)
        try:
            lease = await self._stores.leases.acquire(
                f"node:{node}", self._holder, seconds=self._settings.lease_seconds
            )
        except errors.StoreUnavailable as error:
            log.warning("lease.not_renewed", node=node, error=str(error))
            lease = held.lease if held and clock.monotonic() < held.lease.until else None
        if held is not None and held.work.done():
            # Its loops broke on an unforeseen error: start them again rather than watch nothing.
            log.error("node.watch_broke", node=node, exc_info=held.work.exception())
            del self._held[node]
            held = None
        if held is not None and held.configured is not (node in self._executor.node_names()):
            await self._release(node, give_back=False)
            held = None
        if lease is None and held is not None:
            await self._release(node, give_back=False)
        elif lease is not None and held is not None:
            held.lease = lease
        elif lease is not None:
            self._take(node, lease)

    def _take(self, node: str, lease: Lease) -> None:
        settler = Settler(node, self._stores, self._executor, self._settings)
        recorder = Recorder(self._stores, self._broker, self._executor, self._directories, settler, self._settings)
        enactor = Enactor(self._stores, self._executor, recorder, self._settings)
        sampler = Sampler(node, self._stores, self._broker, self._executor, seconds=self._settings.monitor_seconds)
        node_loss = NodeLoss(node, self._stores, recorder, settler, self._settings)
        limits = Limits(node, self._stores, self._directories, self._settings, on_expired=lambda: watch.on_asked())
        zombies = ZombieCheck(node, self._stores, self._executor, recorder, self._directories, self._settings)
        watch = NodeWatch(
            node, self._stores, self._executor, enactor, settler, sampler, node_loss, limits, zombies, self._settings
        )
        stop = asyncio.Event()
        census = Census(node, self._stores, self._executor, self._directories, self._settings)
        work = asyncio.create_task(_watch(census, watch, stop), name=f"watch-{node}")
        self._held[node] = _Held(lease, watch, node in self._executor.node_names(), stop, work)
        metrics.LEASE_CHANGES.labels(change="taken").inc()
        log.info("node.taken", node=node, epoch=lease.epoch)

    async def _release(self, node: str, *, give_back: bool) -> None:
        held = self._held.pop(node)
        held.stop.set()
        await asyncio.wait({held.work})
        metrics.LEASE_CHANGES.labels(change="lost").inc()
        # The next holder of the lease exports these.
        metrics.NODE_SILENT.remove(node)
        metrics.NODE_STUCK.remove(node)
        log.info("node.released", node=node, gave_back=give_back)
        if give_back:
            try:
                await self._stores.leases.release(held.lease)
            except errors.StoreUnavailable:
                log.warning("lease.not_released", node=node)


async def _watch(census: Census, watch: NodeWatch, stop: asyncio.Event) -> None:
    await census.run(stop)
    if not stop.is_set():
        await watch.run(stop)
