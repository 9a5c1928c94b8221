"""All stores of one installation, opened together."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pymongo import errors as driver_errors

from shared import clock
from shared.models.system.mongo_server import MongoServer
from shared.rules import known_faults
from shared.settings import Settings
from shared.store import connection, hosts, indexes, nodes, outbox, quotas, unplaceable, unreachable_nodes, usage
from shared.store.accounts import app_tokens, deletions, projects, receipts, recipes, users
from shared.store.system import identities, leases, maintenance, restorations, schema
from shared.store.tasks import admissions, arrays, dependencies, lists, owned, tasks, views, work


@dataclass(frozen=True, slots=True)
class Stores:
    """One object per collection, or per reader of it."""

    database: connection.Database
    tasks: tasks.TaskStore
    admissions: admissions.AdmissionStore
    views: views.TaskViews
    lists: lists.TaskLists
    arrays: arrays.ArrayStore
    dependencies: dependencies.DependencyStore
    work: work.TaskWork
    users: users.UserStore
    usage: usage.UsageStore
    pending_reasons: nodes.PendingReasonStore
    nodes: nodes.NodeStore
    hosts: hosts.HostStore
    leases: leases.LeaseStore
    unreachable_nodes: unreachable_nodes.UnreachableNodeStore
    unplaceable: unplaceable.UnplaceableStore
    projects: projects.ProjectStore
    quotas: quotas.QuotaStore
    owned: owned.OwnedTasks
    receipts: receipts.ReceiptStore
    recipes: recipes.RecipeStore
    app_tokens: app_tokens.AppTokenStore
    outbox: outbox.OutboxStore
    maintenance: maintenance.MaintenanceStore
    deletions: deletions.DeletionStore
    schema: schema.SchemaStore
    identity: identities.IdentityStore
    restorations: restorations.RestorationStore

    @connection.translated
    async def ping(self) -> None:
        """Raise `errors.StoreUnavailable` unless a primary answers."""
        await self.database.command("hello")

    @connection.translated
    async def now(self) -> float:
        """Return the time of the MongoDB server, seconds since the epoch."""
        return _seconds((await self.database.command("hello"))["localTime"])

    @connection.translated
    async def server(self) -> MongoServer:
        """Return the facts about the MongoDB server that checks of an installation need."""
        asked_at = clock.now()
        hello = await self.database.command("hello")
        answered_at = clock.now()
        return MongoServer(
            version=str((await self.database.command("buildInfo"))["version"]),
            replica_set=hello.get("setName"),
            members=len(hello.get("hosts", ())),
            has_primary=bool(hello.get("isWritablePrimary")),
            has_journal=await self._has_journal(),
            time=_seconds(hello["localTime"]),
            asked_at=asked_at,
            answered_at=answered_at,
        )

    async def _has_journal(self) -> bool | None:
        try:
            answer = await self.database.client.admin.command("getCmdLineOpts")
        except driver_errors.OperationFailure:
            return None  # this login may not ask
        storage = answer.get("parsed", {}).get("storage", {})
        return storage.get("journal", {}).get("enabled") is not False

    @connection.translated
    async def faults(self) -> list[known_faults.Found]:
        """Return the known faults of the MongoDB server."""
        admin = self.database.client.admin
        version = str((await admin.command("buildInfo"))["version"])
        agreed = (await admin.command("hello", compression=["snappy", "zstd", "zlib"])).get("compression")
        return known_faults.of(known_faults.MONGOD, version, closed=() if agreed else (known_faults.NO_COMPRESSION,))

    async def prepare(self) -> None:
        """
        Migrate the database to our schema version. Raises `errors.SchemaTooNew`, and `errors.StoreUnavailable` while
        another process migrates or loads a backup.
        """
        await self.schema.check()
        await self.identity.ensure()
        await self.schema.bring_up(f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}")
        await self.ensure_indexes()

    async def ensure_indexes(self) -> None:
        await indexes.ensure(self.database)


def _seconds(time: datetime) -> float:
    return time.replace(tzinfo=time.tzinfo or UTC).timestamp()


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Stores]:
    """Open the stores of `settings`. The first call connects to the server."""
    async with connection.database(settings) as database:
        array_store = arrays.ArrayStore(database)
        task_store, task_views = tasks.TaskStore(database), views.TaskViews(database, array_store)
        receipt_store = receipts.ReceiptStore(database)
        lease_store = leases.LeaseStore(database, clock.monotonic)
        yield Stores(
            database=database,
            tasks=task_store,
            admissions=admissions.AdmissionStore(database, task_store, task_views, receipt_store),
            views=task_views,
            lists=lists.TaskLists(database),
            arrays=array_store,
            dependencies=dependencies.DependencyStore(database, array_store),
            work=work.TaskWork(database),
            users=users.UserStore(database),
            usage=usage.UsageStore(database),
            nodes=nodes.NodeStore(database),
            hosts=hosts.HostStore(database),
            pending_reasons=nodes.PendingReasonStore(database),
            leases=lease_store,
            unreachable_nodes=unreachable_nodes.UnreachableNodeStore(database),
            unplaceable=unplaceable.UnplaceableStore(database),
            projects=projects.ProjectStore(database),
            quotas=quotas.QuotaStore(database, task_store, days=settings.user_reset_usage_duration),
            owned=owned.OwnedTasks(database),
            receipts=receipt_store,
            recipes=recipes.RecipeStore(database),
            app_tokens=app_tokens.AppTokenStore(database),
            outbox=outbox.OutboxStore(database),
            maintenance=maintenance.MaintenanceStore(database),
            deletions=deletions.DeletionStore(database),
            schema=schema.SchemaStore(database, lease_store),
            identity=identities.IdentityStore(database, earlier=settings.instance),
            restorations=restorations.RestorationStore(database),
        )
