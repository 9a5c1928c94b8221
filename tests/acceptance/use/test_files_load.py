"""Tests of large files and slow clients: constant memory, and no client delays another."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from shared.units.sizes import GB
from tests.acceptance.conftest import FAST
from tests.support.harness.system import System, running_system
from tests.support.servers.fileserver import memory

pytestmark = pytest.mark.long  # gigabytes, see `make test-long`

LONG = bool(os.environ.get("GODOCKER_LONG_TESTS"))
SIZE = 5 * GB if LONG else GB
PIECE = 1024**2
GROWTH = 64 * 1024**2  #: bytes that a process may take for one transfer of whatever size
READERS = 200
STORAGE = "/api/1.0/user/admin/files"


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with running_system(environment={**FAST, "GODOCKER_DISK_DEFAULT_QUOTA": "6G"}) as system:
        yield system


@pytest.fixture(scope="module")
def client(system: System) -> Iterator[httpx.Client]:
    with system.client(system.token()) as client:
        yield client


@pytest.fixture(scope="module")
def storage(system: System, client: httpx.Client) -> Path:
    client.put(f"{STORAGE}/small", content=b"small")
    return system.settings().shared_dir / "users" / "admin"


class Memory:
    """Memory growth of the gateway and the files service since a moment."""

    def __init__(self, system: System) -> None:
        self._pids = {name: pid for name, pid in system.pids().items() if name.startswith(("api", "files"))}
        assert len(self._pids) == 2
        for pid in self._pids.values():
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        self._before = {name: memory(pid, "VmHWM") for name, pid in self._pids.items()}

    def growth(self) -> dict[str, int]:
        return {name: memory(pid, "VmHWM") - self._before[name] for name, pid in self._pids.items()}

    def said(self) -> str:
        peaks = {name: f"{memory(pid, 'VmHWM') / 2**20:.0f} MB" for name, pid in self._pids.items()}
        growth = {name: f"{size / 2**20:.1f} MB" for name, size in self.growth().items()}
        return f"peak {peaks}, grew by {growth}"


@pytest.mark.timeout(600)
def test_t08_a_large_file_goes_up_and_comes_down_with_flat_memory(
    system: System, client: httpx.Client, storage: Path
) -> None:
    block = os.urandom(PIECE)
    for name, length in (("unknown", {}), ("announced", {"Content-Length": str(SIZE)})):
        size = SIZE if length else SIZE // 4
        watched, began = Memory(system), time.monotonic()
        answer = client.put(
            f"{STORAGE}/{name}", content=(block for _ in range(size // PIECE)), headers=length, timeout=300
        )
        assert (answer.status_code, answer.json()["size"]) == (200, size)
        rate = size / (time.monotonic() - began) / 2**20
        print(f"\n{size / GB:g} GB up, length {name}: {rate:.0f} MB/s, {watched.said()}")
        assert max(watched.growth().values()) < GROWTH
        if not length:
            client.delete(f"{STORAGE}/{name}")
    assert (storage / "announced").stat().st_size == SIZE
    watched, began, taken, digest = Memory(system), time.monotonic(), 0, hashlib.blake2b()
    with client.stream("GET", f"{STORAGE}/announced") as stream:
        for piece in stream.iter_raw(PIECE):
            taken += len(piece)
            digest.update(piece)
    rate = taken / (time.monotonic() - began) / 2**20
    print(f"{taken / GB:g} GB down: {rate:.0f} MB/s, {watched.said()}")
    assert taken == SIZE
    expected = hashlib.blake2b()
    for _ in range(SIZE // PIECE):
        expected.update(block)
    assert digest.digest() == expected.digest()
    assert max(watched.growth().values()) < GROWTH


@pytest.mark.timeout(300)
def test_t08_a_sparse_file_comes_down_with_flat_memory(system: System, client: httpx.Client, storage: Path) -> None:
    with (storage / "sparse").open("wb") as file:
        file.truncate(SIZE)
    watched, began, taken = Memory(system), time.monotonic(), 0
    with client.stream("GET", f"{STORAGE}/sparse") as stream:
        for piece in stream.iter_raw(PIECE):
            taken += len(piece)
    rate = taken / (time.monotonic() - began) / 2**20
    print(f"\n{taken / GB:g} GB sparse down: {rate:.0f} MB/s, {watched.said()}")
    assert taken == SIZE
    assert max(watched.growth().values()) < GROWTH


@pytest.mark.timeout(180)
def test_t44_slow_readers_keep_nobody_waiting(system: System, client: httpx.Client, storage: Path) -> None:
    with (storage / "slow").open("wb") as file:
        file.truncate(10 * GB)
    for number in range(100):
        (storage / f"entry{number}").touch()
    watched = Memory(system)
    token = client.headers["Authorization"]
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(slow_reader(system.base_url, token)) for _ in range(READERS)]
        for reader in readers:
            assert reader.recv(15) == b"HTTP/1.1 200 OK"
        times = []
        for _ in range(50):
            began = time.monotonic()
            answer = client.get(f"{STORAGE}/")
            times.append((time.monotonic() - began) * 1000)
            assert answer.status_code == 200
            assert len(answer.json()) > 100
    print(
        f"\na list beside {READERS} slow readers: median {statistics.median(times):.1f} ms, most {max(times):.1f} ms, "
        f"{watched.said()}"
    )
    assert statistics.median(times) < 100


@contextlib.contextmanager
def slow_reader(base_url: str, token: str) -> Iterator[socket.socket]:
    """A client that requests a large file and reads nothing, with a small receive window."""
    where = urlsplit(base_url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect((where.hostname, where.port))
        connection.sendall(f"GET {STORAGE}/slow HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
        yield connection


@pytest.mark.timeout(300)
def test_t08_a_directory_of_very_many_files_is_listed(system: System, client: httpx.Client, storage: Path) -> None:
    count = 1_000_000 if LONG else 50_000
    folder = storage / "many"
    folder.mkdir()
    directory = os.open(folder, os.O_RDONLY)
    for number in range(count):
        os.close(os.open(f"{number:07}", os.O_WRONLY | os.O_CREAT, dir_fd=directory))
    os.close(directory)
    watched, began = Memory(system), time.monotonic()
    answer = client.get(f"{STORAGE}/many", timeout=120)
    seconds = time.monotonic() - began
    assert answer.status_code == 200
    names = [entry["name"] for entry in answer.json()]
    assert names == [f"{number:07}" for number in range(count)]
    print(f"\n{count} entries listed in {seconds:.1f} s, {watched.said()}")
    client.delete(f"{STORAGE}/many")
