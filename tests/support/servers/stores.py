"""Fixtures with real stores: a mongod replica set and a redis-server per session, with fresh names in them for each test."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pymongo
import pytest

from godocker.local import child_process
from godocker.local.embedded import servers
from shared.settings import Settings
from tests.support import hanging

START_TIMEOUT = 60.0
MEMORY = Path("/dev/shm")
ENOUGH = 4 * 1024**3  #: free bytes there that suffice for the stores of several processes
NAME = "godocker-stores-"  #: followed by the process they belong to
JOURNAL_INTERVAL = 10  #: milliseconds


class StoreServer:
    """A store's real process that a test may restart, kill or freeze. It is restarted before the next test."""

    def __init__(self, server: servers.Server) -> None:
        self._server = server
        self.socket = server.socket

    @property
    def pid(self) -> int:
        assert self._server.child.pid is not None
        return self._server.child.pid

    def start(self) -> None:
        """Start it unless it runs, and wait until it answers."""
        if not self._server.child.is_running():
            self._server.child.start()
        servers.wait_ready([self._server], timeout=START_TIMEOUT)

    def stop(self) -> None:
        """End it cleanly. A frozen one is killed."""
        self._server.child.stop(servers.STOP_GRACE)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._server.child.kill()

    def restart(self) -> None:
        """End it cleanly, start it, and wait until it answers."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Hang it instead of refusing connections."""
        hanging.stop(self.pid)

    def thaw(self) -> None:
        self._server.child.signal(signal.SIGCONT)


@pytest.fixture(scope="session")
def _store_directory() -> Iterator[Path]:
    # Every test creates collections and indexes, each a file: on a disk, that is most of their mongod's work.
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH
    _remove_left_over(MEMORY)
    directory = Path(tempfile.mkdtemp(prefix=f"{NAME}{os.getpid()}-", dir=MEMORY if roomy else None))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def _remove_left_over(place: Path) -> None:
    """Remove stores of killed sessions, which would occupy memory until this machine is switched off."""
    for left in place.glob(f"{NAME}[0-9]*-*"):
        if not psutil.pid_exists(int(left.name.removeprefix(NAME).partition("-")[0])):
            shutil.rmtree(left, ignore_errors=True)


@pytest.fixture(scope="session")
def _mongo_for_session(_store_directory: Path) -> Iterator[StoreServer]:
    server = StoreServer(_quick(servers.mongod(_store_directory)))
    server.start()
    yield server
    server.thaw()
    server.stop()


def _quick(mongod: servers.Server) -> servers.Server:
    """Dropping a database, which every test does, waits for the next journal flush: 100 ms by default."""
    program = mongod.child.program
    options = ("--journalCommitInterval", str(JOURNAL_INTERVAL))
    return replace(mongod, child=child_process.Child(replace(program, argv=[*program.argv, *options])))


@pytest.fixture(scope="session")
def _redis_for_session(_store_directory: Path) -> Iterator[StoreServer]:
    server = StoreServer(servers.redis_server(_store_directory))
    server.start()
    yield server
    server.thaw()
    server.stop()


@pytest.fixture
def mongo_server(_mongo_for_session: StoreServer) -> Iterator[StoreServer]:
    """Run the session's mongod, for tests that interfere with it."""
    yield _mongo_for_session
    _mongo_for_session.thaw()
    _mongo_for_session.start()


@pytest.fixture
def redis_server(_redis_for_session: StoreServer) -> Iterator[StoreServer]:
    """Run the session's redis-server, for tests that interfere with it."""
    yield _redis_for_session
    _redis_for_session.thaw()
    _redis_for_session.start()


@pytest.fixture(scope="session")
def mongo_url(_mongo_for_session: StoreServer, _store_directory: Path) -> str:
    return servers.mongo_url(_store_directory)


@pytest.fixture
def shared_dir() -> Iterator[Path]:
    """Create a directory that every user can pass through: pytest's own temporary directories are closed to others."""
    directory = Path(tempfile.mkdtemp(prefix="godocker-shared-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def settings(
    mongo_url: str,
    redis_server: StoreServer,
    shared_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Settings]:
    """Return settings of a separate system: fresh names in the real stores, small timings. Change with `model_copy`."""
    for name in [name for name in os.environ if name.startswith("GODOCKER_") and "TEST" not in name]:
        monkeypatch.delenv(name)
    unique = secrets.token_hex(6)
    yield Settings(
        instance=f"test-{unique}",
        shared_dir=shared_dir,
        data_dir=tmp_path / "data",
        mongo_url=mongo_url,
        mongo_db=f"test_{unique}",
        redis_socket=redis_server.socket,
        redis_prefix=f"test-{unique}",
        secret_passphrase=secrets.token_hex(32),
        shared_secret_passphrase=secrets.token_hex(32),
        port=0,
        scheduler_port=0,
        watcher_port=0,
        files_port=0,
        executor="simulated",
        kill_grace=1.0,
        lease_seconds=1.0,
        leader_lease_seconds=1.0,
        poll_seconds=0.2,
        reconcile_seconds=0.5,
        gather_seconds=0.01,
        clean_old=0,  # most tasks of the tests ended years ago
    )
    with pymongo.MongoClient(mongo_url, serverSelectionTimeoutMS=20_000) as client:
        client.drop_database(f"test_{unique}")
