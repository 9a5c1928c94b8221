"""Personal storage: uploads, removals and quotas."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.auth.grants import Mode
from tests.support import waiting
from tests.support.servers.fileserver import GID, ROOT, UID, FileServer, running, url

MB = 1024 * 1024


@pytest.fixture(scope="module")
def process() -> Iterator[FileServer]:
    with running() as server:
        yield server


@pytest.fixture
def server(process: FileServer) -> FileServer:
    process.take_another_storage()
    return process


def staged(server: FileServer) -> list[str]:
    return os.listdir(server.staging) if server.staging.exists() else []


# --- uploads ----------------------------------------------------------------------------


def test_an_upload_is_its_users_and_closed_to_others(server: FileServer) -> None:
    answer = server.put("in/a/file", b"content")
    assert (answer.status_code, answer.json()) == (200, {"msg": "File stored", "size": 7})
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"
    for path, mode in ((server.folder, 0o700), (server.folder / "in/a", 0o700), (server.folder / "in/a/file", 0o600)):
        status = path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (UID, GID, mode)
    assert stat.S_IMODE((server.shared / "users").stat().st_mode) == 0o711
    assert stat.S_IMODE(server.staging.stat().st_mode) == 0o700
    assert server.get("in/a/file", server.storage).content == b"content"
    assert staged(server) == []


def test_a_second_upload_replaces_the_first(server: FileServer) -> None:
    server.put("file", b"first, and longer")
    before = (server.folder / "file").stat().st_ino
    assert server.put("file", b"second").status_code == 200
    assert (server.folder / "file").read_bytes() == b"second"
    assert (server.folder / "file").stat().st_ino != before, "a reader of the first file keeps reading it"


def test_an_upload_that_breaks_off_changes_nothing(server: FileServer) -> None:
    server.put("file", b"first")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        token = server.grant(server.storage, Mode.WRITE)
        head = (
            f"PUT {url('file')} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000000\r\n\r\n"
        )
        connection.sendall(head.encode() + b"x" * 300_000)
        waiting.until_blocking(lambda: staged(server), "the upload has begun")
        assert server.names("", server.storage) == ["file"], "what is under way is not seen"
    waiting.until_blocking(lambda: not staged(server), "what had come is removed")
    assert (server.folder / "file").read_bytes() == b"first"


def test_a_file_in_the_way_and_a_directory_of_that_name_are_conflicts(server: FileServer) -> None:
    server.put("file", b"x")
    server.put("folder/file", b"x")
    for path in ("file/below", "folder"):
        answer = server.put(path, b"x")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert server.put("", b"x").status_code == 422
    assert server.put("folder/", b"x").status_code == 422
    assert staged(server) == []


def test_many_uploads_of_one_name_leave_one_of_them_whole(server: FileServer) -> None:
    contents = [bytes([65 + number]) * 200_000 for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda content: server.put("same", content).status_code, contents))
    assert answers == [200] * 16
    assert (server.folder / "same").read_bytes() in contents
    assert server.names("", server.storage) == ["same"]


# --- quotas -----------------------------------------------------------------------------


def test_an_upload_that_does_not_fit_is_refused(server: FileServer) -> None:
    assert server.put("a", b"x" * MB, quota=3 * MB).status_code == 200
    answer = server.put("b", b"x" * (2 * MB + 1), quota=3 * MB)
    assert (answer.status_code, answer.json()["code"]) == (413, "quota_exceeded")
    assert "of 3 MB of personal storage 2 MB are left" in answer.json()["detail"]
    assert server.put("b", b"x" * 2 * MB, quota=3 * MB).status_code == 200
    assert server.put("c", b"", quota=3 * MB).status_code == 413, "not even an empty one: it takes a block"
    assert server.names("", server.storage) == ["a", "b"]
    assert staged(server) == []


def test_an_upload_of_unknown_length_is_stopped_at_the_quota(server: FileServer) -> None:
    most = 0

    def look() -> int:
        """Record the largest size of the staging directory."""
        nonlocal most
        names = os.listdir(server.staging) if server.staging.exists() else []
        now = sum(size(server.staging / name) for name in names)
        most = max(most, now)
        return now

    def pieces() -> Iterator[bytes]:
        yield b"x" * MB
        # The server writes while it reads: earlier pieces are on disk before the rest is sent.
        waiting.until_blocking(lambda: look() > 0, "the first piece is in staging")
        for _ in range(64):
            yield b"x" * MB
            look()

    answer = server.put("big", pieces(), quota=4 * MB)
    assert (answer.status_code, answer.json()["code"]) == (413, "quota_exceeded")
    assert 0 < most <= 4 * MB
    assert staged(server) == []


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_concurrent_uploads_stay_within_the_quota(server: FileServer) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: server.put(f"f{n}", b"x" * MB, quota=4 * MB).status_code, range(12)))
    assert sorted(answers) == [200] * 4 + [413] * 8
    assert sum(file.stat().st_size for file in server.folder.iterdir()) <= 4 * MB


def test_replacing_and_removing_make_room(server: FileServer) -> None:
    quota = 4 * MB
    assert server.put("a", b"x" * 2 * MB, quota=quota).status_code == 200
    assert server.put("a", b"x" * MB, quota=quota).status_code == 200
    assert server.put("b", b"x" * 3 * MB, quota=quota).status_code == 200
    assert server.delete("b").status_code == 200
    assert server.put("c", b"x" * 3 * MB, quota=quota).status_code == 200


# --- removals -----------------------------------------------------------------------------


def test_a_file_and_a_tree_are_removed(server: FileServer) -> None:
    for path in ("keep", "file", "tree/a/b/c", "tree/a/d", "tree/e"):
        server.put(path, b"x")
    answer = server.delete("file")
    assert (answer.status_code, answer.json()) == (200, {"msg": "File removed"})
    assert server.delete("tree").status_code == 200
    assert server.names("", server.storage) == ["keep"]
    assert server.delete("tree").status_code == 404
    assert server.delete("").status_code == 422
    waiting.until_blocking(lambda: not staged(server), "it is off the disk")


def test_links_are_removed_and_not_followed(server: FileServer, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    server.put("tree/file", b"x")
    (server.folder / "tree/link").symlink_to(outside)
    (server.folder / "tree/file link").symlink_to(outside / "file")
    (server.folder / "link").symlink_to(outside)
    assert server.delete("link/file").status_code == 404
    assert server.delete("link").status_code == 200
    assert server.delete("tree").status_code == 200
    waiting.until_blocking(lambda: not staged(server), "it is off the disk")
    assert (outside / "file").read_text() == "kept"


def test_a_tree_ten_thousand_deep_is_removed(server: FileServer) -> None:
    server.put("tree/file", b"x")
    make_deep(server.folder / "tree", 10_000)
    assert server.delete("tree").status_code == 200
    waiting.until_blocking(lambda: not staged(server), "it is off the disk", timeout=60)


def make_deep(folder: Path, depth: int) -> None:
    """Make a deep chain of directories with a file in the last one."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)


def test_leftovers_of_a_dead_process_are_removed_by_the_next(server: FileServer) -> None:
    staging = server.staging
    server.put("x", b"x")
    (staging / "removed-1" / "sub").mkdir(parents=True)
    (staging / "removed-1" / "sub" / "file").touch()
    (staging / "upload-old").touch()
    os.utime(staging / "upload-old", (1, 1))
    (staging / "upload-new").touch()
    server.put("tree/x", b"x")
    server.delete("tree")
    waiting.until_blocking(lambda: staged(server) == ["upload-new"], "only what may be under way is there")
    (staging / "upload-new").unlink()


# --- traps of the owner ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe"])
def test_an_upload_is_not_written_through_an_existing_link(server: FileServer, tmp_path: Path, kind: str) -> None:
    server.put("x", b"x")
    outside, target = tmp_path / "outside", server.folder / "target"
    if kind == "pipe":
        os.mkfifo(target)
    else:
        if kind == "link":
            outside.write_text("untouched")
        target.symlink_to(outside)
    assert server.put("target", b"new").status_code == 200
    assert target.read_bytes() == b"new"
    assert not target.is_symlink()
    assert not outside.exists() or outside.read_text() == "untouched"


def test_an_upload_does_not_go_through_a_directory_that_is_a_link(server: FileServer, tmp_path: Path) -> None:
    server.put("x", b"x")
    (server.folder / "away").symlink_to(tmp_path)
    assert server.put("away/file", b"x").status_code == 409
    assert server.put("away/sub/file", b"x").status_code == 409
    assert list(tmp_path.iterdir()) == []


def test_a_storage_that_is_a_link_is_refused(server: FileServer, tmp_path: Path) -> None:
    server.put("x", b"x")
    os.rename(server.folder, server.folder.with_name("moved"))
    server.folder.symlink_to(tmp_path)
    (tmp_path / "secret").write_text("secret")
    assert server.get("secret", server.storage).status_code == 404
    assert server.put("file", b"x").status_code == 404
    assert server.delete("secret").status_code == 404
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("path", [b"../x", b"a/../../x", b"./x", b"a//x", b"/x", b"a\0b", b"..", b"x" * 300])
def test_a_path_that_is_not_plain_is_not_found(server: FileServer, path: bytes) -> None:
    assert server.put(path, b"x").status_code == 404
    assert server.delete(path).status_code == 404
    assert not server.folder.exists() or os.listdir(server.folder) == []
    assert staged(server) == []


@pytest.mark.skipif(not ROOT, reason="only root can make files for others")
def test_a_file_belongs_to_its_user_at_every_moment(server: FileServer) -> None:
    modes = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            try:
                status = (server.folder / "file").stat()
            except FileNotFoundError:
                continue
            modes.add((status.st_uid, stat.S_IMODE(status.st_mode)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(50):
        assert server.put("file", b"x").status_code == 200
    done.set()
    watcher.join()
    assert modes == {(UID, 0o600)}
