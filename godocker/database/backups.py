"""Backups as files: written whole or not at all, and read to their end before anything makes room for them."""

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
from shared.models.identity import Identity
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store import connection
from shared.store.backups import archive, dump, history, load
from shared.store.stores import connect
from shared.store.system import migrations
from shared.store.system.identities import IdentityStore

#: Decides which system a database that was just loaded is that of; told what it was before.
Settle = Callable[[connection.Database, Identity | None], Awaitable[str]]
Work = Callable[[IdentityStore], Awaitable[Identity]]

STANDARD = Path("-")  #: standard output or input
SUFFIX = ".godocker"
TIMEOUT = 120.0  #: seconds for one operation of the store: nobody waits for an answer
LONGEST = 3600  #: seconds that a backup may take, if nothing else is said
NUMBERS = 1_000_000  #: left out after a restore, at least
_STOPPED = 10.0  #: seconds in which services that are being stopped may still be connected


def make(settings: Settings, where: Path, *, longest: int = LONGEST) -> Path | None:
    """
    Back the database up into a new file of the directory `where`, and return that; None where it went to standard output. For
    `longest` seconds the server keeps what was at the moment of the backup. Raises `errors.BackupFailed`.
    """
    patient = settings.model_copy(update={"mongo_timeout": TIMEOUT})
    if where == STANDARD and sys.stdout.isatty():
        raise errors.BackupFailed("a terminal is no place for a backup: redirect the output")
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
        # Hashes of keys stand in it: nobody else may read it.
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            asyncio.run(_dump(settings, file, now, longest))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(where / name)
        _sync(where)
    except OSError as error:
        raise errors.BackupFailed(f"{where} could not be written to: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
    return where / name


def _sync(directory: Path) -> None:
    """The new name is on the disk, too."""
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
        async with history.kept(opened.database, longest):
            with Progress("read") as progress:
                await dump.dump(opened.database, writer, progress.note)
        writer.end()


@dataclass(frozen=True, slots=True)
class Restored:
    """`documents` are how many the backup had of what, `identity` says which system it is that of from now on, and why."""

    header: archive.Header
    documents: Mapping[str, int]
    identity: str


def restore(settings: Settings, source: Path, *, force: bool, settle: Settle | None = None) -> Restored:
    """
    Load a backup into the database, which has to be empty unless `force`. `settle` decides whose it is then. Raises
    `errors.BackupFailed`, and `errors.BackupUnusable` before anything was changed.
    """
    patient = settings.model_copy(update={"mongo_timeout": TIMEOUT})
    with _opened(source) as file, own_mongod.database(settings):
        with Progress("checked") as progress:
            reader = archive.Reader(file)
            found = load.verify(reader, progress.note)
        file.seek(0)
        return Restored(reader.header, found, asyncio.run(_load(patient, file, settle, force=force)))


@contextmanager
def _opened(source: Path) -> Iterator[IO[bytes]]:
    """The backup as a file that can be read twice."""
    with contextlib.ExitStack() as until_then:
        try:
            if source != STANDARD:
                yield until_then.enter_context(source.open("rb"))
                return
            spool = until_then.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(sys.stdin.buffer, spool)
            spool.seek(0)
        except OSError as error:
            raise errors.BackupFailed(f"{source} could not be read: {error.strerror}") from None
        yield spool


async def _load(settings: Settings, file: IO[bytes], settle: Settle | None, *, force: bool) -> str:
    highest = await asyncio.to_thread(TaskDirectories(settings.shared_dir).highest)
    skip = max(NUMBERS, 10 * settings.max_array)
    async with connection.database(settings, appname="godocker-restore") as database:
        await wait_until_alone(settings, database)
        there = await load.contents(database)
        if there and not force:
            lost = ", ".join(f"{count} {name}" for name, count in there.items())
            raise errors.BackupFailed(f"the database is not empty: --force would destroy {lost}")
        with Progress("loaded") as progress:
            before = await IdentityStore(database, earlier=settings.instance).get()
            await load.load(database, archive.Reader(file), progress.note, least_number=highest, skip=skip)
        return await settle(database, before) if settle else ""


async def wait_until_alone(settings: Settings, database: connection.Database) -> None:
    """Return once nobody of this system is connected. Raises `errors.BackupFailed` where somebody stays."""
    deadline = clock.monotonic() + _STOPPED
    while users := await load.users_of(database, connection.appname_of(settings)):
        if clock.monotonic() > deadline:
            raise errors.BackupFailed(
                f"services or commands of this system are connected, from {', '.join(users[:5])}: stop all of them first"
            )
        await asyncio.sleep(0.2)


def is_current(header: archive.Header) -> bool:
    """Whether a backup is of our version: one of an earlier version is brought up to it by the first service that starts."""
    return header.schema >= migrations.VERSION
