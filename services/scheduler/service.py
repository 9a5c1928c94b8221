"""The scheduler's loops: lead, receive hints, plan, audit, observe the nodes."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import replace

import structlog

from services.scheduler.arrays_and_dependencies import ArraysAndDependencies
from services.scheduler.audit import Audit
from services.scheduler.cluster import Cluster
from services.scheduler.cycle import Cycle
from services.scheduler.gauges import Gauges
from services.scheduler.owners import Owners
from services.scheduler.placement import last_seen
from services.scheduler.policies import registry
from services.scheduler.policies.usage_cache import UsageCache
from services.scheduler.queue.book import Book
from services.scheduler.quota_gate import QuotaGate
from services.scheduler.start.dispatch import Dispatcher
from services.scheduler.start.installation_errors import InstallationErrors
from services.scheduler.start.results import Results
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
from shared.models.system.lease import SCHEDULER, Lease
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

LEASE = SCHEDULER
ASKS = 10  #: attempts to take or renew the lease within its time, so that an expired one is taken soon
DRAIN = 6.0  #: seconds that starts under way have to finish when the service stops


class SchedulerService:
    """One scheduler process, the leader or a standby."""

    def __init__(self, settings: Settings, stores: Stores, broker: hints.Broker, executor: Executor) -> None:
        self._settings = settings
        self._stores = stores
        self._broker = broker
        self._executor = executor
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._lease: Lease | None = None
        self._led = False  # `leads` as last reported
        self._url: str | None = None  # where gateways reach this scheduler
        self._epoch_taken: int | None = None
        self._has_sizes = False  # stored by an earlier scheduler
        self._breaks = loop_failures.LoopFailures()
        self._wakeup = lifetime.Wakeup()
        self._book = Book()
        ports = range(settings.port_start, min(settings.port_start + settings.port_range, 65536))
        self._errors = InstallationErrors()
        self._cluster = Cluster(ports=ports, maxlifespan=settings.maxlifespan, node_errors=self._errors)
        directories = TaskDirectories(settings.shared_dir)
        self._storage = StorageProbe(directories, self._errors, every=settings.reconcile_seconds)
        self._quotas, self._owners = QuotaGate(stores), Owners(stores)
        results = Results(self._wakeup)
        self._dispatcher = Dispatcher(
            stores,
            executor,
            settings,
            directories,
            self._quotas,
            self._owners,
            self._errors,
            self._storage,
            results,
        )
        self._policy = registry.build(settings)
        self._usage = UsageCache(UsageViews(stores.database), days=settings.user_reset_usage_duration)
        self._cycle = Cycle(
            settings,
            stores,
            broker,
            self._book,
            self._cluster,
            self._dispatcher,
            results,
            self._quotas,
            self._owners,
            self._policy,
            self._usage,
        )
        self._audit = Audit(stores, self._book, self._cluster, self._owners, self._dispatcher)
        self._relations = ArraysAndDependencies(settings, stores, self._book, self._wakeup)
        self._unplaceable = Unplaceable(settings, stores, self._book, self._cluster, self._relations)
        self._claim = Claim(settings.shared_dir, stores.identity)
        self._gauges = Gauges(
            CensusStore(stores.database), self._book, self._cluster, self._cycle, self._quotas, self._owners
        )
        self._explainer = Explainer(
            settings,
            stores,
            self._book,
            self._cluster,
            self._policy,
            self._usage,
            self._quotas,
            self._owners,
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
            "census": self.watch_gauges,
            "storage": self.watch_storage,
            "hosts": Hosts(self._settings, self._stores, self._executor).run,
        }
        if self._policy.needs_shares:
            loops["shares"] = self.watch_usage
        loop_failures.current.set(self._breaks)
        try:
            await lifetime.run_loops(loops, stop=stop)
        finally:
            await self._dispatcher.drain(DRAIN)
            await self._release_lease()

    def checks(self) -> dict[str, serving.Check]:
        """Return the checks of the dependencies, for /health."""
        return {
            "mongo": self._stores.ping,
            "redis": self._broker.ping,
            "nodes": self._check_nodes,
            "loops": self._breaks.check,
        }

    @property
    def leads(self) -> bool:
        """True while this scheduler holds the lease; past `until`, another one may lead."""
        return self._lease is not None and clock.monotonic() < self._lease.until

    @property
    def _has_taken_over(self) -> bool:
        """True once this scheduler leads and has read its book as the leader."""
        return self.leads and self._lease is not None and self._epoch_taken == self._lease.epoch

    # --- the loops ------------------------------------------------------------------------

    async def watch_lease(self, stop: asyncio.Event) -> None:
        """Take the lease when it is free, and renew it."""
        seconds = self._settings.leader_lease_seconds
        async for _ in lifetime.every(stop, seconds / ASKS):
            self._note_leading()  # the lease may have expired
            try:
                self._lease = await self._stores.leases.acquire(LEASE, self._holder, seconds=seconds, url=self._url)
            except errors.StoreUnavailable as error:
                log.warning("lease.not_renewed", error=str(error))
            self._note_leading()

    async def watch_claim(self, stop: asyncio.Event) -> None:
        """Beat the claim on the identity as the leader; otherwise check whether another installation holds it."""
        async for _ in lifetime.every(stop, claims.BEAT):
            if not self.leads:
                await self._claim.look()
            elif await self._claim.beat():
                self._wakeup.set()

    async def watch_hints(self, stop: asyncio.Event) -> None:
        """Release the resources of ended attempts, and wake the cycle."""
        async for hint in self._broker.scheduler_hints(stop):
            if ended := hints.parse_ended(hint):
                self._cluster.release(ended)
                self._relations.note_ended(task_id for task_id, _ in ended)
            if gone := hints.parse_gone(hint):
                await self._drop(gone)
            if hint in (hints.RESYNC, hints.MAINTENANCE):
                await self._read_maintenance()
            self._wakeup.set()

    async def watch_cycle(self, stop: asyncio.Event) -> None:
        """Run cycles after wakeups, and at least every `poll_seconds`."""
        gather = self._settings.gather_seconds
        while await self._wakeup.wait(stop, poll=self._next_cycle_in(), gather=gather):
            if not self.leads or self._lease is None:
                continue
            try:
                await self._lead(self._lease.epoch)
            except errors.Unavailable as error:
                log.warning("cycle.failed", error=str(error))
                # Whether the plan was written is not known. A retry would release the room of placed tasks, so the
                # book is read again.
                self._epoch_taken = None
                await lifetime.pause(stop, 0.5)
            except Exception:
                self._epoch_taken = None  # the same; the loop is restarted
                self._wakeup.set()
                raise

    async def _lead(self, epoch: int) -> None:
        if not self._claim.is_held and not await self._claim.look():
            log.info("scheduler.waits_for_claim")
            return
        if self._epoch_taken != epoch:
            if await self._stores.restorations.current() is not None:
                # Tasks started after the backup still run, and would run twice.
                log.info("scheduler.waits_for_census")
                return
            await self._audit.take_over()
            if self._policy.needs_shares:
                await self._usage.ensure_known()
            self._epoch_taken = epoch
            log.info("scheduler.took_over", epoch=epoch, pending=len(self._book))
        more = True
        while more and self.leads:
            more = await self._cycle.run(epoch=epoch)
            self._relations.note_cycle()

    async def watch_relations(self, stop: asyncio.Event) -> None:
        """Create the children of arrays, and release tasks whose dependencies are met."""
        await self._relations.run(stop, leads=lambda: self._has_taken_over)

    async def watch_unplaceable(self, stop: asyncio.Event) -> None:
        """End tasks that no node could take for `unplaceable_after`."""
        await self._unplaceable.run(stop, leads=lambda: self._has_taken_over)

    async def watch_audit(self, stop: asyncio.Event) -> None:
        """Check memory against MongoDB for changes that no hint reported."""
        async for _ in lifetime.every(stop, self._settings.poll_seconds):
            if not self._has_taken_over:
                continue
            try:
                self._cluster.maxlifespan = self._settings.maxlifespan
                ended = await self._audit.check_maintenance()
                await self._audit.check_allocations()
                missing = await self._audit.check_book()
                ended |= await self._audit.check_owners()
            except errors.Unavailable as error:
                log.warning("audit.failed", error=str(error))
                continue
            if missing or ended or len(self._book):
                self._wakeup.set()

    async def watch_usage(self, stop: asyncio.Event) -> None:
        """
        Read usage and priorities of users and projects. Standbys do so too: to sum up a window may take longer than the
        system may be without a leader.
        """
        async for _ in lifetime.every(stop, self._settings.fairshare_reload_seconds):
            try:
                await self._usage.read()
            except errors.StoreUnavailable as error:
                log.warning("usage.not_read", error=str(error))

    async def watch_nodes(self, stop: asyncio.Event) -> None:
        """Observe the nodes, and store their reports for the API."""
        async for _ in lifetime.every(stop, self._settings.reconcile_seconds):
            await self._read_stored_sizes()
            reports = await self._without_unreachable(await self._executor.nodes())
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
        """Check that directories of tasks can be created, before a start fails by it."""
        async for _ in lifetime.every(stop, self._settings.reconcile_seconds):
            if self.leads:
                await self._storage.check()

    async def watch_gauges(self, stop: asyncio.Event) -> None:
        """Update the gauges of the whole system."""
        async for _ in lifetime.every(stop, self._settings.reconcile_seconds):
            if not self._has_taken_over:
                self._gauges.clear()
                continue
            try:
                await self._gauges.update()
            except errors.StoreUnavailable as error:
                log.warning("gauges.not_updated", error=str(error))

    # --- parts ----------------------------------------------------------------------------

    async def _read_stored_sizes(self) -> None:
        """Begin with the sizes that an earlier scheduler stored: a node may be unreachable just now."""
        if self._has_sizes:
            return
        try:
            self._cluster.remember(last_seen.reports(await self._stores.nodes.list()))
            self._has_sizes = True
        except errors.StoreUnavailable as error:
            log.warning("nodes.not_read", error=str(error))

    async def _without_unreachable(self, reports: Sequence[NodeReport]) -> Sequence[NodeReport]:
        """
        Return the reports, with nodes as not ready that do not answer their watcher, or did not until just now:
        attempts given up there must be removed before anything else starts.
        """
        try:
            nodes = await self._stores.unreachable_nodes.list()
        except errors.StoreUnavailable:
            return reports
        unreachable = {node.node for node in nodes if node.seconds >= self._settings.node_grace}
        return [
            replace(report, ready=False, reason="it does not answer its watcher")
            if report.ready and report.name in unreachable
            else report
            for report in reports
        ]

    def _next_cycle_in(self) -> float:
        """Return the seconds until a task may become placeable without a wakeup."""
        ripe_at, quota = self._book.ripe_at, self._quotas.expires_in
        delays = [
            self._settings.poll_seconds,
            *([ripe_at - clock.now()] if ripe_at else []),
            *([quota] if quota else []),
        ]
        return max(0.01, min(delays)) if self.leads else self._settings.poll_seconds

    def _note_leading(self) -> None:
        """Report a lease that was taken or lost since the last call."""
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
            log.warning("gone.not_checked", error=str(error))  # the next audit finds them

    async def _read_maintenance(self) -> None:
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
