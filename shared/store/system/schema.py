"""The schema version in the collection `schema`, migrated to ours step by step."""

from __future__ import annotations

from typing import Any

import structlog
from pymongo import errors as driver_errors

from shared import clock, errors
from shared.store import connection
from shared.store.system import leases, migrations

log = structlog.get_logger(__name__)

LEASE = "schema"
SECONDS = 60.0  #: lease time of one step
FIRST = 1  #: version of a database without the document
_VERSION = "version"
LOADING = "loading"  #: document that exists while a backup is loaded


class SchemaStore:
    """
    One document holds the version, `{_id: "version", version, at}`. It grows by one with each finished step. Services of a
    version and of the next one run side by side; older ones refuse to start.
    """

    def __init__(self, database: connection.Database, lease_store: leases.LeaseStore) -> None:
        self._database = database
        self._schema = database["schema"]
        self._leases = lease_store

    @connection.translated
    async def version(self) -> int:
        """Return the stored version."""
        document = await self._schema.find_one({"_id": _VERSION})
        return int(document["version"]) if document else FIRST

    @connection.translated
    async def check(self) -> int:
        """
        Return the stored version. Raises `errors.SchemaTooNew` if we cannot work with it, and `errors.StoreUnavailable`
        while a backup is loaded.
        """
        if await self._schema.find_one({"_id": LOADING}):
            raise errors.StoreUnavailable(
                "a backup is being loaded; if its loading was interrupted, run godocker restore again"
            )
        version = await self.version()
        if version > migrations.VERSION + 1:
            raise errors.SchemaTooNew(version, migrations.VERSION)
        return version

    async def bring_up(self, holder: str) -> None:
        """Run the missing steps. Raises `errors.SchemaTooNew`, and `errors.StoreUnavailable` while another process runs one."""
        version = await self.check()
        for step in migrations.missing(version):
            lease = await self._leases.acquire(LEASE, holder, seconds=SECONDS)
            if lease is None:
                raise errors.StoreUnavailable(f"another service migrates the database to version {step.version}")
            try:
                await self._take(step)
            finally:
                await self._leases.release(lease)

    @connection.translated
    async def _take(self, step: migrations.Step) -> None:
        if await self.version() >= step.version:
            return  # another process was faster
        log.info("schema.step_begun", version=step.version, name=step.name)
        changed = await step.run(self._database)
        # Last: after a crash before this line, the step runs again for what is left.
        await self._note(step.version)
        log.info("schema.step_done", version=step.version, name=step.name, changed=changed)

    async def _note(self, version: int) -> None:
        update: dict[str, Any] = {"$set": {"version": version, "at": clock.now()}}
        try:
            await self._schema.update_one({"_id": _VERSION, "version": {"$lt": version}}, update, upsert=True)
        except driver_errors.DuplicateKeyError:
            return  # a later one is stored already
