"""Backups as files: written completely or not at all, and verified before a restore changes anything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO

from godocker.database.progress import Progress
from godocker.local.embedded import own_mongod
from shared import clock, errors
from shared.models.system.identity import Identity
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store import connection
from shared.store.backups import archive, dump, history, load
from shared.store.stores import connect
from shared.store.system import migrations
from shared.store.system.identities import IdentityStore

#: Chooses the identity of a database that was just loaded, given its previous identity; returns the reason.
Settle = Callable[[connection.Database, Identity | None], Awaitable[str]]
Work = Callable[[IdentityStore], Awaitable[Identity]]

STANDARD = Path("-")  #: standard output or input
SUFFIX = ".godocker"
TIMEOUT = 120.0  #: seconds for one operation of the store
LONGEST = 3600  #: default limit of a backup's duration in seconds
SKIPPED_IDS = 1_000_000  #: minimum of task ids skipped after a restore
_STOPPED = 10.0  #: seconds in which stopping services may still be connected


def make(settings: Settings, where: Path, *, longest: int = LONGEST) -> Path | None:
    """
    Back up the database to a new file in the directory `where` and return the file; None for standard output. The server keeps
    the snapshot for `longest` seconds. Raises `errors.BackupFailed`.
    """
    patient = settings.model_copy(update={"mongo_timeout": TIMEOUT})
    if where == STANDARD and sys.stdout.isatty():
        raise errors.BackupFailed("cannot write a backup to a terminal: redirect the output")
    if where != STANDARD and not where.is_dir():
        raise errors.BackupFailed(f"there is no directory {where}")
    with own_mongod.database(settings):
        if where != STANDARD:
            return _make_file(patient, where, longest)
        asyncio.run(_dump(patient, sys.stdout.buffer, clock.now(), longest))
        sys.stdout.buffer.flush()
        return None


def _make_file(settings: Settings, where: Path, longest: int) -> Path:
    now = clock.now()
    name = f"{settings.mongo_db}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}{SUFFIX}"
    draft = where / f".{name}.{os.getpid()}"
    try:
        # The backup contains hashes of API keys, so only we may read it.
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            asyncio.run(_dump(settings, file, now, longest))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(where / name)
        _sync(where)
    except OSError as error:
        raise errors.BackupFailed(f"{where} cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    return where / name


def _sync(directory: Path) -> None:
    """Flush the new name of a file to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _dump(settings: Settings, file: IO[bytes], now: float, longest: int) -> None:
    async with connect(settings) as opened:
        version = await opened.schema.check()
        header = archive.Header(
            schema=version, version=metadata.version("godocker"), at=now, database=settings.mongo_db
        )
        writer = archive.Writer(file, header)
        async with history.lengthened(opened.database, longest):
            with Progress("read") as progress:
                await dump.dump(opened.database, writer, progress.note)
        writer.end()


@dataclass(frozen=True, slots=True)
class Restored:
    """Result of a restore: `documents` counts by collection, `identity` is a sentence on the database's new identity."""

    header: archive.Header
    documents: Mapping[str, int]
    identity: str


def restore(settings: Settings, source: Path, *, force: bool, settle: Settle | None = None) -> Restored:
    """
    Load a backup into the database, which must be empty unless `force` is set. `settle` then chooses its identity. Raises
    `errors.BackupFailed`, and `errors.BackupUnusable` before any change.
    """
    patient = settings.model_copy(update={"mongo_timeout": TIMEOUT})
    with _opened(source) as file, own_mongod.database(settings):
        with Progress("checked") as progress:
            reader = archive.Reader(file)
            documents = load.verify(reader, progress.note)
        file.seek(0)
        return Restored(reader.header, documents, asyncio.run(_load(patient, file, settle, force=force)))


@contextmanager
def _opened(source: Path) -> Iterator[IO[bytes]]:
    """Open the backup as a seekable file; standard input is copied to a temporary one."""
    with contextlib.ExitStack() as cleanup:
        try:
            if source != STANDARD:
                yield cleanup.enter_context(source.open("rb"))
                return
            spool = cleanup.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.seek(0)
        except OSError as error:
            raise errors.BackupFailed(f"{source} cannot be read: {error.strerror}") from None
        yield spool


async def _load(settings: Settings, file: IO[bytes], settle: Settle | None, *, force: bool) -> str:
    highest = await asyncio.to_thread(TaskDirectories(settings.shared_dir).highest)
    skip = max(SKIPPED_IDS, 10 * settings.max_array)
    async with connection.database(settings, appname="godocker-restore") as database:
        await wait_until_alone(settings, database)
        existing = await load.contents(database)
        if existing and not force:
            lost = ", ".join(f"{count} {name}" for name, count in existing.items())
            raise errors.BackupFailed(f"the database is not empty: --force would destroy {lost}")
        with Progress("loaded") as progress:
            before = await IdentityStore(database, earlier=settings.instance).get()
            await load.load(database, archive.Reader(file), progress.note, least_number=highest, skip=skip)
        return await settle(database, before) if settle else ""


async def wait_until_alone(settings: Settings, database: connection.Database) -> None:
    """Wait until no service or command of this system is connected. Raises `errors.BackupFailed` if one stays connected."""
    deadline = clock.monotonic() + _STOPPED
    while users := await load.users_of(database, connection.appname_of(settings)):
        if clock.monotonic() > deadline:
            raise errors.BackupFailed(
                f"services or commands of this system are connected from {', '.join(users[:5])}: stop all of them first"
            )
        await asyncio.sleep(0.2)


def is_current(header: archive.Header) -> bool:
    """Return whether a backup has our schema version. The first service that starts upgrades an earlier one."""
    return header.schema >= migrations.VERSION
