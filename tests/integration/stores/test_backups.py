"""Backups: consistent under load, complete or refused, and loaded into empty databases only."""

from __future__ import annotations

import asyncio
import gzip
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from godocker.database import backups
from godocker.local.embedded import servers
from shared import errors
from shared.settings import Settings
from shared.store import connection, transactions
from shared.store.backups import archive, dump, history, load
from shared.store.stores import Stores, connect
from shared.store.system import migrations, replica_set, schema
from tests.support import samples, waiting

TASKS = 300


def silent(_: str, __: int) -> None:
    """Show no progress."""


async def taken(opened: Stores) -> bytes:
    file = io.BytesIO()
    writer = archive.Writer(file, archive.Header(migrations.VERSION, "test", samples.NOW, "test"))
    await dump.dump(opened.database, writer, silent)
    writer.end()
    return file.getvalue()


async def loaded(opened: Stores, backup: bytes, *, least_number: int = 0, skip: int = 1000) -> None:
    reader = archive.Reader(io.BytesIO(backup))
    await load.load(opened.database, reader, silent, least_number=least_number, skip=skip)


@pytest.fixture
async def another(settings: Settings) -> AsyncIterator[Stores]:
    """An empty database."""
    name = f"{settings.mongo_db}_other"
    async with connect(settings.model_copy(update={"mongo_db": name})) as opened:
        yield opened
        await opened.database.client.drop_database(name)


@pytest.fixture
async def filled(opened: Stores) -> Stores:
    await opened.schema.bring_up("test")
    await opened.tasks.reserve_ids(TASKS)
    await opened.tasks.insert([samples.task(n) for n in range(1, TASKS + 1)])
    return opened


@asynccontextmanager
async def pairs_under_way(opened: Stores) -> AsyncIterator[list[int]]:
    """Write the same number to two collections, in one transaction, again and again."""
    written: list[int] = []
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            number = len(written) + 1

            async def both(session: object, number: int = number) -> None:
                for name in ("aaa", "zzz"):
                    await opened.database[name].insert_one({"_id": number}, session=session)

            await transactions.run(opened.database, both)
            written.append(number)

    await opened.database["aaa"].insert_one({"_id": 0})
    await opened.database["zzz"].insert_one({"_id": 0})
    work = asyncio.create_task(write(), name="pairs")
    try:
        yield written
    finally:
        stop.set()
        await work


async def test_a_backup_is_of_one_moment_though_others_write(
    filled: Stores, another: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "BATCH", 20)
    async with pairs_under_way(filled) as written:
        await waiting.until(lambda: len(written) > 20, "pairs are written")
        begun = len(written)
        backup = await taken(filled)
        await waiting.until(lambda: len(written) > begun + 5, "pairs were written after the moment")
    await loaded(another, backup)
    first, last = [
        [found["_id"] async for found in another.database[name].find().sort("_id")] for name in ("aaa", "zzz")
    ]
    assert first == last == list(range(len(first)))
    assert begun < len(first), "what was there when it began is in it"


async def test_a_restored_database_is_the_one_that_was_backed_up(filled: Stores, another: Stores) -> None:
    for name in dump.PASSING:
        await filled.database[name].insert_one({"_id": "of the moment"})
    before = {name: [d async for d in filled.database[name].find().sort("_id")] for name in ("tasks", "schema")}
    await loaded(another, await taken(filled))
    after = {name: [d async for d in another.database[name].find().sort("_id")] for name in ("tasks", "schema")}
    assert after == before
    for name in dump.PASSING - {"restoration"}:
        assert await another.database[name].count_documents({}) == 0
    await another.prepare()


async def test_ids_given_after_the_backup_are_not_given_again(filled: Stores, another: Stores) -> None:
    backup = await taken(filled)
    await loaded(another, backup, least_number=0, skip=1000)
    assert await another.tasks.reserve_ids(1) == TASKS + 1001
    await loaded(another, backup, least_number=5000, skip=1000)
    assert await another.tasks.reserve_ids(1) == 6001


async def window(database: connection.Database) -> int:
    found = await database.client.admin.command({"getParameter": 1, history.PARAMETER: 1})
    return int(found[history.PARAMETER])


async def test_a_backup_may_take_longer_than_the_server_keeps_history_by_default(
    filled: Stores, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await window(filled.database)
    seen = []

    async def looking(database: connection.Database, *_: object) -> None:
        seen.append(await window(database))
        raise errors.BackupFailed("no more is needed")

    monkeypatch.setattr(dump, "dump", looking)
    for longest in (before + 100, before - 100):
        with pytest.raises(errors.BackupFailed, match="no more"):
            await asyncio.to_thread(backups.make, settings, tmp_path, longest=longest)
        assert await window(filled.database) == before, "it is as it was"
    assert seen == [before + 100, before]


async def test_a_user_without_rights_on_the_server_can_back_up(settings: Settings, tmp_path: Path) -> None:
    """The services' user may only read and write their database, as with Compose."""
    (tmp_path / "run").mkdir()
    (tmp_path / "log").mkdir()
    server = servers.mongod(tmp_path, password="of the root")
    server.child.start()
    try:
        await asyncio.to_thread(servers.wait_ready, [server], timeout=60)
        root, user = (
            replica_set.Login(servers.USER, "of the root"),
            replica_set.Login("service", "of the services"),
        )
        assert replica_set.allow(server.socket, root, user, database=settings.mongo_db)
        url = servers.mongo_url(tmp_path)
        theirs = settings.model_copy(
            update={"mongo_url": url, "mongo_user": user.user, "mongo_password": SecretStr(user.password)}
        )
        async with connect(theirs) as opened:
            await opened.schema.bring_up("test")
        made = await asyncio.to_thread(backups.make, theirs, tmp_path)
        assert made is not None
        assert load.verify(archive.Reader(io.BytesIO(made.read_bytes())), silent) is not None
    finally:
        await asyncio.to_thread(server.child.stop, servers.STOP_GRACE)


def spoiled(backup: bytes) -> Iterator[tuple[str, bytes]]:
    plain = gzip.decompress(backup)
    yield "cut short", backup[: len(backup) // 2]
    yield "no backup", b"something else"
    yield "nothing", b""
    yield "a bit turned", gzip.compress(plain.replace(b"sent-77", b"sent-78"))
    yield "without its end", gzip.compress(plain[: plain.rindex(b"end") - 6])
    middle = len(backup) // 2
    yield "a byte changed", backup[:middle] + bytes([backup[middle] ^ 1]) + backup[middle + 1 :]


async def test_an_incomplete_backup_is_refused_before_anything_changes(
    filled: Stores, another: Stores, settings: Settings, tmp_path: Path
) -> None:
    await another.database["users"].insert_one({"_id": "somebody"})
    there = settings.model_copy(update={"mongo_db": f"{settings.mongo_db}_other"})
    for what, content in spoiled(await taken(filled)):
        file = tmp_path / "spoiled"
        file.write_bytes(content)
        with pytest.raises(errors.BackupUnusable):
            await asyncio.to_thread(backups.restore, there, file, force=True)
        assert await another.database["users"].count_documents({}) == 1, what
        assert await another.database["tasks"].count_documents({}) == 0, what


async def test_a_backup_of_a_version_that_is_too_new_is_refused() -> None:
    file = io.BytesIO()
    archive.Writer(file, archive.Header(migrations.VERSION + 2, "9.9", samples.NOW, "test")).end()
    with pytest.raises(errors.SchemaTooNew):
        load.verify(archive.Reader(io.BytesIO(file.getvalue())), silent)


async def test_services_wait_after_an_interrupted_load_until_another_completes(filled: Stores, another: Stores) -> None:
    backup = await taken(filled)

    def die(*_: object) -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        await load.load(another.database, archive.Reader(io.BytesIO(backup)), die, least_number=0, skip=1)
    with pytest.raises(errors.StoreUnavailable, match="run godocker restore again"):
        await another.prepare()
    assert await load.contents(another.database) == {}, "it is to be done again without --force"
    await loaded(another, backup)
    await another.prepare()
    assert await another.database["tasks"].count_documents({}) == TASKS
    assert await another.database["schema"].find_one({"_id": schema.LOADING}) is None


async def test_what_a_restore_would_destroy_is_named(filled: Stores) -> None:
    assert await load.contents(filled.database) == {"counters": 1, "tasks": TASKS}


async def test_a_process_that_is_connected_is_seen(opened: Stores, settings: Settings) -> None:
    appname = connection.appname_of(settings)
    async with connection.database(settings, appname="godocker-restore") as database:
        await opened.ping()
        assert await load.users_of(database, appname) != []
        assert await load.users_of(database, "godocker-nobody") == []


async def test_a_backup_is_one_complete_private_file(filled: Stores, settings: Settings, tmp_path: Path) -> None:
    made = await asyncio.to_thread(backups.make, settings, tmp_path)
    assert made is not None
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [made.name]
    assert made.stat().st_mode & 0o077 == 0
    with pytest.raises(errors.BackupFailed, match="there is no directory"):
        await asyncio.to_thread(backups.make, settings, tmp_path / "nowhere")


class Stream:
    """Standard input or output that is a pipe."""

    def __init__(self, content: bytes = b"") -> None:
        self.buffer = io.BytesIO(content)

    def isatty(self) -> bool:
        return False


async def test_a_backup_goes_through_a_pipe_both_ways(
    filled: Stores, another: Stores, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = Stream()
    monkeypatch.setattr("sys.stdout", pipe)
    assert await asyncio.to_thread(backups.make, settings, backups.STANDARD) is None
    monkeypatch.setattr("sys.stdin", Stream(pipe.buffer.getvalue()))
    # Another name, since the test is connected itself.
    there = settings.model_copy(update={"mongo_db": f"{settings.mongo_db}_other", "instance": "restored"})
    restored = await asyncio.to_thread(backups.restore, there, backups.STANDARD, force=False)
    assert restored.documents["tasks"] == TASKS
    assert await another.database["tasks"].count_documents({}) == TASKS


async def test_a_restore_needs_a_database_that_is_empty_and_unused(
    filled: Stores, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "_STOPPED", 0.1)
    made = await asyncio.to_thread(backups.make, settings, tmp_path)
    assert made is not None
    with pytest.raises(errors.BackupFailed, match="are connected from "):
        await asyncio.to_thread(backups.restore, settings, made, force=True)
    alone = settings.model_copy(update={"instance": "restored"})
    with pytest.raises(errors.BackupFailed, match=f"--force would destroy 1 counters, {TASKS} tasks"):
        await asyncio.to_thread(backups.restore, alone, made, force=False)
    await filled.tasks.insert([samples.task(TASKS + 1)])
    await asyncio.to_thread(backups.restore, alone, made, force=True)
    assert await filled.database["tasks"].count_documents({}) == TASKS
