"""The collection `schema`: the version of what is stored, brought up to ours step by step."""

from __future__ import annotations

from typing import Any

import structlog
from pymongo import errors as driver_errors

from shared import clock, errors
from shared.store import connection
from shared.store.system import leases, migrations

log = structlog.get_logger(__name__)

LEASE = "schema"
SECONDS = 60.0  #: of the lease, for one step
FIRST = 1  #: of a database that does not say it
_VERSION = "version"
LOADING = "loading"  #: the document that is there while a backup is loaded


class SchemaStore:
    """
    One document says the version, `{_id: "version", version, at}`. It only grows, by one with each step that is done. Services
    of a version and of the next one run side by side; older ones than that refuse to start.
    """

    def __init__(self, database: connection.Database, lease_store: leases.LeaseStore) -> None:
        self._database = database
        self._schema = database["schema"]
        self._leases = lease_store

    @connection.translated
    async def version(self) -> int:
        """What is stored."""
        document = await self._schema.find_one({"_id": _VERSION})
        return int(document["version"]) if document else FIRST

    @connection.translated
    async def check(self) -> int:
        """
        The version of what is stored. Raises `errors.SchemaTooNew` where it is newer than we can work with, and
        `errors.StoreUnavailable` while a backup is loaded.
        """
        if await self._schema.find_one({"_id": LOADING}):
            raise errors.StoreUnavailable(
                "a backup is being loaded, or its loading was interrupted: then run godocker restore again"
            )
        version = await self.version()
        if version > migrations.VERSION + 1:
            raise errors.SchemaTooNew(version, migrations.VERSION)
        return version

    async def bring_up(self, holder: str) -> None:
        """
        Take the steps that are missing. Whoever comes while somebody else takes one is told to wait. Raises
        `errors.SchemaTooNew` and `errors.StoreUnavailable`.
        """
        version = await self.check()
        for step in migrations.missing(version):
            lease = await self._leases.acquire(LEASE, holder, seconds=SECONDS)
            if lease is None:
                raise errors.StoreUnavailable(f"another service brings the database to version {step.version}")
            try:
                await self._take(step)
            finally:
                await self._leases.release(lease)

    @connection.translated
    async def _take(self, step: migrations.Step) -> None:
        if await self.version() >= step.version:
            return  # somebody else was faster
        log.info("schema.step_begun", version=step.version, name=step.name)
        changed = await step.run(self._database)
        # Only now: who dies before leaves the step to be taken again, and finds what is left of it.
        await self._note(step.version)
        log.info("schema.step_done", version=step.version, name=step.name, changed=changed)

    async def _note(self, version: int) -> None:
        update: dict[str, Any] = {"$set": {"version": version, "at": clock.now()}}
        try:
            await self._schema.update_one({"_id": _VERSION, "version": {"$lt": version}}, update, upsert=True)
        except driver_errors.DuplicateKeyError:
            return  # it says a later one already
