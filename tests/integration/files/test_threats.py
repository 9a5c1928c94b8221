"""Traps that a task may plant in its directory: the files service never serves data of others."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.storage import openat2
from tests.integration.files.test_storage import make_deep
from tests.support import waiting
from tests.support.servers.fileserver import ROOT, UID, FileServer, running

LONG = bool(os.environ.get("GODOCKER_LONG_TESTS"))
RACE_SECONDS = 60.0 if LONG else 3.0
PATIENCE = 60.0  #: more seconds, for as long as only one of the two answers was seen
SECRET = b"somebody else's"
INSIDE = b"the task's own"


@pytest.fixture(scope="module")
def server() -> Iterator[FileServer]:
    with running() as server:
        (server.shared / "secret").write_bytes(SECRET)
        (server.task / "file").write_bytes(INSIDE)
        (server.task / "sub").mkdir()
        yield server


def refused(server: FileServer, path: bytes | str) -> None:
    answer = server.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


# --- T01: spellings --------------------------------------------------------------------

SPELLINGS = [
    *(b"../../../secret", b"..", b"sub/../../../../secret", b"./file", b"/etc/passwd", b"//etc/passwd", b"file/.."),
    *(b"..\\..\\..\\secret", b"%2e%2e/%2e%2e/%2e%2e/secret", b"..%2f..%2f..%2fsecret", b"%252e%252e/secret"),
    *(
        b"\xc0\xae\xc0\xae/\xc0\xae\xc0\xae/secret",
        b"..\xc0\xaf..\xc0\xafsecret",
        b"file\0",
        b"file\0.txt",
        b"../../../secret\0",
    ),
    *(
        b"file.",
        b"file ",
        b"file/",
        b"file/.",
        b"....//....//secret",
        b"../" * 6000,
        b"sub//",
        b"\xef\xbc\x8e\xef\xbc\x8e/secret",
    ),
    *(b"proc/self/root/etc/passwd", b"~root", b"$HOME", b"file:///etc/passwd", b"a" * 256, b"a/" * 10_000),
]


@pytest.mark.parametrize("path", SPELLINGS)
def test_t01_no_spelling_leads_out(server: FileServer, path: bytes) -> None:
    refused(server, path)


# --- T02: symbolic links ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/etc/passwd", "link"),
        ("../../../secret", "link"),
        ("file", "link"),
        ("link", "link"),
        ("nowhere", "link"),
        ("../../..", "link/secret"),
        ("../../..", "link"),
        ("/", "link/etc/passwd"),
        (".", "link/file"),
        ("sub", "link/"),
        ("/proc/self/root", "link/etc/passwd"),
        ("/proc/self/fd", "link/0"),
        ("/dev/zero", "link"),
    ],
)
def test_t02_no_link_is_followed_or_listed(server: FileServer, target: str, path: str) -> None:
    link = server.task / "link"
    link.symlink_to(target)
    try:
        refused(server, path)
        assert "link" not in server.names()
    finally:
        link.unlink()


_SWAP = """
import ctypes, os, sys
rename = ctypes.CDLL(None, use_errno=True).renameat2
folder = os.open(sys.argv[1], os.O_RDONLY)
print("ready", flush=True)
while True:
    if rename(folder, sys.argv[2].encode(), folder, sys.argv[3].encode(), 2):
        sys.exit(os.strerror(ctypes.get_errno()))
"""


@contextlib.contextmanager
def swapping(folder: Path, one: str, other: str) -> Iterator[None]:
    """Exchange two names (renameat2, RENAME_EXCHANGE) as fast as possible."""
    process = subprocess.Popen([sys.executable, "-c", _SWAP, folder, one, other], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.timeout(180)
def test_t02_a_file_swapped_during_a_request_is_never_served_from_outside(server: FileServer) -> None:
    race, outside = server.task / "race", server.shared / "outside"
    (race / "folder").mkdir(parents=True)
    outside.mkdir()
    (outside / "file").write_bytes(SECRET)
    (race / "folder" / "file").write_bytes(INSIDE)
    (race / "file").write_bytes(INSIDE)
    (race / "file link").symlink_to(outside / "file")
    (race / "folder link").symlink_to(outside)
    seen: Counter[tuple[int, bytes]] = Counter()
    both = {(200, INSIDE), (404, b"")}

    def ask(path: str) -> None:
        headers = server.headers()
        began = renewed = time.monotonic()
        while (passed := time.monotonic() - began) < RACE_SECONDS or (
            len(seen) < len(both) and passed < RACE_SECONDS + PATIENCE
        ):
            if time.monotonic() - renewed > 10:
                headers, renewed = server.headers(), time.monotonic()
            answer = server.http.get(f"/files?path={path}", headers=headers)
            seen[answer.status_code, answer.content if answer.status_code == 200 else b""] += 1

    paths = ("race/file", "race/folder/file", "race/folder%20link/file", "race/file%20link")
    with swapping(race, "file", "file link"), swapping(race, "folder", "folder link"):
        threads = [threading.Thread(target=ask, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"\nlinks swapped for {RACE_SECONDS:g} s: {sum(seen.values())} requests, {dict(seen)}")
    assert set(seen) == both


# --- T03: hard links ---------------------------------------------------------------------


def test_t03_a_hard_link_is_neither_listed_nor_served(server: FileServer) -> None:
    linked = server.task / "hard"
    os.link(server.shared / "secret", linked)
    refused(server, "hard")
    assert "hard" not in server.names()
    (server.task / "own").write_bytes(INSIDE)
    os.link(server.task / "own", server.task / "own too")
    refused(server, "own")  # the task's own: it looks the same as a link to data of others
    (server.task / "own too").unlink()
    linked.unlink()
    assert server.get("own").content == INSIDE


# --- T04: other than regular files ---------------------------------------------------------


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["pipe", "socket", "block device", "character device"])
def test_t04_only_regular_files_are_opened(server: FileServer, kind: str) -> None:
    path = server.task / "special"
    with contextlib.ExitStack() as stack:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
        elif not ROOT:
            pytest.fail("making devices takes root: run the tests as root")
        elif kind == "block device":
            os.mknod(
                path,
                0o666 | stat.S_IFBLK,
                os.stat("/dev/vda").st_rdev if os.path.exists("/dev/vda") else os.makedev(8, 0),
            )
        else:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero, which never ends
        try:
            refused(server, "special")
            assert "special" not in server.names()
        finally:
            path.unlink()


# --- T05: setuid -----------------------------------------------------------------------------


@pytest.mark.skipif(not ROOT, reason="only root can give files to others")
def test_t05_nothing_of_ours_is_setuid_or_roots(server: FileServer) -> None:
    server.take_another_storage()
    server.put("a/b", b"#!/bin/sh\n")
    for path in (server.folder, *server.folder.rglob("*")):
        status = path.stat()
        assert status.st_uid == UID
        assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID | 0o077)


# --- T08: sizes, depths, names -----------------------------------------------------------------


def test_t08_a_file_larger_than_any_disk_is_streamed_with_flat_memory(server: FileServer) -> None:
    size = 0
    with (server.task / "sparse").open("wb") as file:
        for size in (2**63 - 1, 2**44 - 4096, 2**42):  # the limits of tmpfs, ext4 and others
            with contextlib.suppress(OSError):
                file.truncate(size)
                break
    server.reset_peak()
    before = server.peak()
    answer = server.get("sparse", Range=f"bytes={size - 10}-")
    assert (answer.content, answer.headers["content-range"]) == (bytes(10), f"bytes {size - 10}-{size - 1}/{size}")
    taken = 0
    with server.http.stream("GET", "/files?path=sparse", headers=server.headers()) as stream:
        assert stream.headers["content-length"] == str(size)
        for piece in stream.iter_raw():
            taken += len(piece)
            if taken > 200 * 1024**2:
                break
    waiting.until_blocking(lambda: not is_open(server, "sparse"), "the file is closed when the client has gone")
    print(
        f"\n{size / 2**40:g} TB sparse: {taken / 2**20:.0f} MB taken, memory grew by {(server.peak() - before) / 2**20:.1f} MB"
    )
    assert server.peak() - before < 64 * 1024**2


def is_open(server: FileServer, name: str) -> bool:
    links = []
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(link))
    return any(link.endswith(f"/{name}") for link in links)


def test_t08_a_file_ten_thousand_directories_down_is_served(server: FileServer) -> None:
    (server.task / "deep").mkdir()
    make_deep(server.task / "deep", 10_000)
    deep = b"deep/" + b"d/" * 10_000
    assert server.names(deep) == ["file"]
    assert server.get(deep + b"file").status_code == 200


def test_a_file_that_is_replaced_while_it_is_read_is_read_to_its_end(server: FileServer) -> None:
    size = 64 * 1024**2
    path = server.task / "replaced"
    path.write_bytes(b"a" * size)
    with server.begin("replaced") as connection:
        head = connection.recv(100)
        path.unlink()
        path.symlink_to(server.shared / "secret")
        content = read_all(connection, head, size)
    assert content.endswith(b"a" * size)


def read_all(connection: socket.socket, head: bytes, size: int) -> bytes:
    """Read the rest of an answer whose body has `size` bytes."""
    parts = [head]
    while b"\r\n\r\n" not in b"".join(parts[:50]):
        parts.append(connection.recv(2**16))
    have = len(b"".join(parts).partition(b"\r\n\r\n")[2])
    while have < size and (piece := connection.recv(2**20)):
        parts.append(piece)
        have += len(piece)
    return b"".join(parts)


def test_a_file_that_shrinks_while_it_is_read_ends_the_connection(server: FileServer) -> None:
    size = 64 * 1024**2
    path = server.task / "shrinking"
    path.write_bytes(b"a" * size)
    with server.begin("shrinking") as connection:
        head = connection.recv(100)
        os.truncate(path, size // 2)
        content = read_all(connection, head, size).partition(b"\r\n\r\n")[2]
    assert set(content) == {ord("a")}
    assert len(content) <= size // 2, "no byte is made up"
    assert "transfer.broken" in server.log()
    # Not an error for operators: a user's file became shorter.
    assert '"level":"error"' not in server.log().replace('"level": "error"', '"level":"error"')
    assert "Traceback" not in server.log()
    assert "ASGI" not in server.log()


def test_openat2_is_available() -> None:
    assert openat2.is_available()
