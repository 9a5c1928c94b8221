"""The scheduler's loops: lead, listen, plan, audit, look at the nodes."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import replace

import structlog

from services.scheduler.arrays_and_dependencies import Relations
from services.scheduler.audit import Audit
from services.scheduler.cluster import Cluster
from services.scheduler.cycle import Cycle
from services.scheduler.gauges import Census
from services.scheduler.placement import last_seen
from services.scheduler.policies import registry
from services.scheduler.policies.usage_cache import Shares
from services.scheduler.queue.book import Book
from services.scheduler.start.dispatch import Dispatcher
from services.scheduler.start.installation_errors import Ailments
from services.scheduler.start.storage_probe import StorageProbe
from services.scheduler.unplaceable import Unplaceable
from services.scheduler.why_pending import explain_routes
from services.scheduler.why_pending.explainer import Explainer
from shared import clock, errors
from shared.auth import service_tokens
from shared.broker import broker as hints
from shared.executors.base import Executor
from shared.executors.types import NodeReport
from shared.http import serving
from shared.models import lease
from shared.models.lease import Lease
from shared.observe import loop_failures, metrics
from shared.runtime import lifetime
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores
from shared.store.system.census import CensusStore
from shared.store.usage_views import UsageViews
from shared.system import claims
from shared.system.claims import Claim
from shared.system.hosts import Hosts

log = structlog.get_logger(__name__)

LEASE = lease.SCHEDULER
ASKS = 10  #: in the time of a lease, to renew it or to take one that has ended soon after its end
DRAIN = 6.0  #: seconds that starts under way are given when the service stops


class SchedulerService:
    """One scheduler process: the leader, or standing by."""

    def __init__(self, settings: Settings, stores: Stores, broker: hints.Broker, executor: Executor) -> None:
        self._settings = settings
        self._stores = stores
        self._broker = broker
        self._executor = executor
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._lease: Lease | None = None
        self._led = False  # when it was last told of
        self._url: str | None = None  # where gateways can ask this one
        self._epoch_taken: int | None = None
        self._has_sizes = False  # those of an earlier scheduler
        self._breaks = loop_failures.Breaks()
        self._wakeup = lifetime.Wakeup()
        self._book = Book()
        ports = range(settings.port_start, min(settings.port_start + settings.port_range, 65536))
        self._ailments = Ailments()
        self._cluster = Cluster(ports=ports, maxlifespan=settings.maxlifespan, ailments=self._ailments)
        directories = TaskDirectories(settings.shared_dir)
        self._storage = StorageProbe(directories, self._ailments, every=settings.reconcile_seconds)
        self._dispatcher = Dispatcher(
            stores, executor, settings, directories, self._wakeup, self._ailments, self._storage
        )
        self._policy = registry.build(settings)
        self._shares = Shares(UsageViews(stores.database), days=settings.user_reset_usage_duration)
        self._cycle = Cycle(
            settings, stores, broker, self._book, self._cluster, self._dispatcher, self._policy, self._shares
        )
        self._audit = Audit(stores, self._book, self._cluster, self._dispatcher)
        self._relations = Relations(settings, stores, self._book, self._wakeup)
        self._unplaceable = Unplaceable(settings, stores, self._book, self._cluster, self._relations)
        census_store = CensusStore(stores.database)
        self._claim = Claim(settings.shared_dir, stores.identity)
        self._census = Census(
            census_store, self._book, self._cluster, self._cycle, self._dispatcher.quotas, self._dispatcher.owners
        )
        self._explainer = Explainer(
            settings,
            stores,
            self._book,
            self._cluster,
            self._policy,
            self._shares,
            self._dispatcher.quotas,
            self._dispatcher.owners,
            reservation=lambda: self._cycle.reservation,
            leads=lambda: self._has_taken_over,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`."""
        key = service_tokens.key(self._settings.secret_passphrase.get_secret_value())
        routes = explain_routes.routes(self._explainer, key=key)
        app = serving.health_app("scheduler", self.checks(), routes, leads=lambda: self._has_taken_over)
        host, port = self._settings.internal_host, self._settings.scheduler_port
        listening = serving.bind(host, port)
        self._url = self._settings.scheduler_url or serving.url_of(listening, host)

        async def http(stop: asyncio.Event) -> None:
            await serving.serve(app, stop, host=host, port=port, listening=listening)

        loops: dict[str, lifetime.Loop] = {
            "http": http,
            "lease": self.watch_lease,
            "claim": self.watch_claim,
            "hints": self.watch_hints,
            "cycle": self.watch_cycle,
            "audit": self.watch_audit,
            "relations": self.watch_relations,
            "unplaceable": self.watch_unplaceable,
            "nodes": self.watch_nodes,
            "census": self.watch_census,
            "storage": self.watch_storage,
            "hosts": Hosts(self._settings, self._stores, self._executor).run,
        }
        if self._policy.needs_shares:
            loops["shares"] = self.watch_shares
        loop_failures.current.set(self._breaks)
        try:
            await lifetime.run_loops(loops, stop=stop)
        finally:
            await self._dispatcher.drain(DRAIN)
            await self._release_lease()

    def checks(self) -> dict[str, serving.Check]:
        """What the service depends on."""
        return {
            "mongo": self._stores.ping,
            "redis": self._broker.ping,
            "nodes": self._check_nodes,
            "loops": self._breaks.check,
        }

    @property
    def leads(self) -> bool:
        """Whether the lease is held, with a margin: past it, somebody else may lead."""
        return self._lease is not None and clock.monotonic() < self._lease.until

    @property
    def _has_taken_over(self) -> bool:
        """Whether this scheduler leads and has filled its book as the leader."""
        return self.leads and self._lease is not None and self._epoch_taken == self._lease.epoch

    # --- the loops ------------------------------------------------------------------------

    async def watch_lease(self, stop: asyncio.Event) -> None:
        """Take the lease when it is free, and renew it."""
        seconds = self._settings.leader_lease_seconds
        async for _ in lifetime.every(stop, seconds / ASKS):
            self._note_leading()  # it may have run out since
            try:
                self._lease = await self._stores.leases.acquire(LEASE, self._holder, seconds=seconds, url=self._url)
            except errors.StoreUnavailable as error:
                log.warning("lease.not_renewed", error=str(error))
            self._note_leading()

    async def watch_claim(self, stop: asyncio.Event) -> None:
        """Say as the leader that this installation lives, and see whether another one with its identity does."""
        async for _ in lifetime.every(stop, claims.BEAT):
            if not self.leads:
                await self._claim.look()
            elif await self._claim.beat():
                self._wakeup.set()

    async def watch_hints(self, stop: asyncio.Event) -> None:
        """Free what ended attempts held, and wake the cycle."""
        async for hint in self._broker.scheduler_hints(stop):
            if ended := hints.parse_ended(hint):
                self._cluster.release(ended)
                self._relations.note_ended(task_id for task_id, _ in ended)
            if gone := hints.parse_gone(hint):
                await self._drop(gone)
            if hint in (hints.RESYNC, hints.MAINTENANCE):
                await self._look_at_maintenance()
            self._wakeup.set()

    async def watch_cycle(self, stop: asyncio.Event) -> None:
        """Plan whenever something may have changed, and every `poll_seconds` in any case."""
        gather = self._settings.gather_seconds
        while await self._wakeup.wait(stop, poll=self._next_look(), gather=gather):
            if not self.leads or self._lease is None:
                continue
            try:
                await self._lead(self._lease.epoch)
            except errors.Unavailable as error:
                log.warning("cycle.failed", error=str(error))
                # Whether its plan was written is not known. Trying it again would release the room of what was placed.
                self._epoch_taken = None
                await lifetime.pause(stop, 0.5)
            except Exception:
                self._epoch_taken = None  # the same; the loop is begun again
                self._wakeup.set()
                raise

    async def _lead(self, epoch: int) -> None:
        if not self._claim.is_held and not await self._claim.look():
            log.info("scheduler.waits_for_claim")
            return
        if self._epoch_taken != epoch:
            if await self._stores.restorations.current() is not None:
                # What was started after the backup runs on, and would run twice.
                log.info("scheduler.waits_for_census")
                return
            await self._audit.take_over()
            if self._policy.needs_shares:
                await self._shares.ensure_known()
            self._epoch_taken = epoch
            log.info("scheduler.took_over", epoch=epoch, pending=len(self._book))
        more = True
        while more and self.leads:
            more = await self._cycle.run(epoch=epoch)
            self._relations.note_cycle()

    async def watch_relations(self, stop: asyncio.Event) -> None:
        """Make the children of arrays, and let tasks go that waited for others."""
        await self._relations.run(stop, leads=lambda: self._has_taken_over)

    async def watch_unplaceable(self, stop: asyncio.Event) -> None:
        """End tasks that no node could take for too long, where that is wanted."""
        await self._unplaceable.run(stop, leads=lambda: self._has_taken_over)

    async def watch_audit(self, stop: asyncio.Event) -> None:
        """Find what hints missed."""
        async for _ in lifetime.every(stop, self._settings.poll_seconds):
            if not self._has_taken_over:
                continue
            try:
                self._cluster.maxlifespan = self._settings.maxlifespan
                ended = await self._audit.check_maintenance()
                await self._audit.check_allocations()
                found = await self._audit.check_book()
                ended |= await self._audit.check_owners()
            except errors.Unavailable as error:
                log.warning("audit.failed", error=str(error))
                continue
            if found or ended or len(self._book):
                self._wakeup.set()

    async def watch_shares(self, stop: asyncio.Event) -> None:
        """
        Look anew at what users and projects used, and how they are ranked. Whoever stands by does so too: to sum up a window
        may take longer than a leader may be missed.
        """
        async for _ in lifetime.every(stop, self._settings.fairshare_reload_seconds):
            try:
                await self._shares.read()
            except errors.StoreUnavailable as error:
                log.warning("shares.not_read", error=str(error))

    async def watch_nodes(self, stop: asyncio.Event) -> None:
        """Ask the nodes what they have, and write it down for those who ask."""
        async for _ in lifetime.every(stop, self._settings.reconcile_seconds):
            await self._take_up_sizes()
            reports = await self._heard(await self._executor.nodes())
            if self._cluster.observe(reports, now=clock.now()):
                self._wakeup.set()
            if not self.leads:
                continue
            try:
                now = clock.now()
                await self._stores.nodes.put_many(
                    [last_seen.stored(report, now=now) for report in self._cluster.reports]
                )
            except errors.StoreUnavailable as error:
                log.warning("nodes.not_recorded", error=str(error))

    async def watch_storage(self, stop: asyncio.Event) -> None:
        """Look whether tasks' directories could be made, before a start is what finds out."""
        async for _ in lifetime.every(stop, self._settings.reconcile_seconds):
            if self.leads:
                await self._storage.look()

    async def watch_census(self, stop: asyncio.Event) -> None:
        """Count what there is, for whoever asks for metrics."""
        async for _ in lifetime.every(stop, self._settings.reconcile_seconds):
            if not self._has_taken_over:
                self._census.forget()
                continue
            try:
                await self._census.take()
            except errors.StoreUnavailable as error:
                log.warning("census.not_taken", error=str(error))

    # --- parts ----------------------------------------------------------------------------

    async def _take_up_sizes(self) -> None:
        """Begin with what the nodes had when an earlier scheduler saw them: one of them may be silent just now."""
        if self._has_sizes:
            return
        try:
            self._cluster.remember(last_seen.reports(await self._stores.nodes.list()))
            self._has_sizes = True
        except errors.StoreUnavailable as error:
            log.warning("nodes.not_read", error=str(error))

    async def _heard(self, reports: Sequence[NodeReport]) -> Sequence[NodeReport]:
        """
        The reports, as not ready those of nodes that do not answer their watcher, or did not until just now: what was given up
        there has to be removed before anything else begins.
        """
        try:
            silences = await self._stores.unreachable_nodes.list()
        except errors.StoreUnavailable:
            return reports
        silent = {silence.node for silence in silences if silence.seconds >= self._settings.node_grace}
        return [
            replace(report, ready=False, reason="it does not answer its watcher")
            if report.ready and report.name in silent
            else report
            for report in reports
        ]

    def _next_look(self) -> float:
        """Seconds until something may be placed that cannot be now, though nothing is heard of it."""
        ripe_at, quota = self._book.ripe_at, self._dispatcher.quotas.next_look
        looks = [
            self._settings.poll_seconds,
            *([ripe_at - clock.now()] if ripe_at else []),
            *([quota] if quota else []),
        ]
        return max(0.01, min(looks)) if self.leads else self._settings.poll_seconds

    def _note_leading(self) -> None:
        """Tell of a lease that was taken or lost since this was last asked."""
        leads = self.leads
        metrics.LEADER.set(leads)
        if leads is self._led:
            return
        self._led = leads
        metrics.LEASE_CHANGES.labels(change="taken" if leads else "lost").inc()
        if leads and self._lease:
            log.info("lease.taken", epoch=self._lease.epoch)
            self._wakeup.set()
        else:
            log.warning("lease.lost")

    async def _drop(self, task_ids: Sequence[int]) -> None:
        if not self._has_taken_over:
            return
        try:
            await self._audit.check_gone(task_ids)
        except errors.Unavailable as error:
            log.warning("gone.not_looked_at", error=str(error))  # the next audit finds them

    async def _look_at_maintenance(self) -> None:
        try:
            await self._audit.check_maintenance()
        except errors.Unavailable as error:
            log.warning("maintenance.not_read", error=str(error))  # the next audit reads it

    async def _release_lease(self) -> None:
        if self._lease is not None:
            try:
                await self._stores.leases.release(self._lease)
            except errors.StoreUnavailable:
                log.warning("lease.not_released")

    async def _check_nodes(self) -> None:
        if not self._executor.node_names():
            return  # none was added yet
        reports = self._cluster.reports
        if not any(report.ready for report in reports):
            reasons = "; ".join(f"{report.name}: {report.reason}" for report in reports)
            raise errors.NodeUnavailable("any", reasons or "not asked yet")
