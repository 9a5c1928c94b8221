"""Task directories, and everything that tasks plant in them."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import errors
from shared.models import attempt_files
from shared.models.task import Place
from shared.storage import beneath, directories

NOBODY = 65534
ROOT = os.geteuid() == 0
UID, GID = (20001, 20002) if ROOT else (os.getuid(), os.getgid())


@pytest.fixture
def tasks(tmp_path: Path) -> directories.TaskDirectories:
    return directories.TaskDirectories(tmp_path / "shared")


async def prepared(tasks: directories.TaskDirectories, script: str = "exit 0", task_id: int = 1234) -> Path:
    return await tasks.prepare(Place(task_id), uid=UID, gid=GID, script=script)


async def left(tasks: directories.TaskDirectories, *, started: str | None = None, ended: str | None = None) -> Path:
    """Return a directory with a wrapper's files."""
    path = await prepared(tasks)
    for name, content in ((attempt_files.started_file(1), started), (attempt_files.exit_file(1), ended)):
        if content is not None:
            (path / name).write_text(content)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- what is made ----------------------------------------------------------------


async def test_a_directory_belongs_to_its_user_and_is_closed_to_others(tasks: directories.TaskDirectories) -> None:
    path = await tasks.prepare(Place(1234), uid=UID, gid=GID, script="echo é", uris=["http://x/a", "http://x/b"])
    assert path == tasks.path(Place(1234))
    assert path.parts[-3:] == ("tasks", "1", "1234")
    for one, expected in ((path, 0o700), (path / "cmd.sh", 0o700), (path / "godocker-uris.txt", 0o600)):
        assert mode(one) == expected
        assert (one.stat().st_uid, one.stat().st_gid) == (UID, GID)
    assert (path / attempt_files.STATE).stat().st_uid == UID
    assert mode(path.parent) & 0o066 == 0
    assert (path / "cmd.sh").read_text() == "echo é"
    assert (path / "godocker-uris.txt").read_text() == "http://x/a\nhttp://x/b\n"


async def test_a_repeated_preparation_writes_the_script_and_keeps_the_rest(tasks: directories.TaskDirectories) -> None:
    path = await prepared(tasks, "first")
    (path / "output").write_text("kept")
    (path / attempt_files.exit_file(1)).write_text("3\n")
    assert await prepared(tasks, "second") == path
    assert (path / "cmd.sh").read_text() == "second"
    assert (path / "output").read_text() == "kept"
    assert (path / attempt_files.exit_file(1)).read_text() == "3\n"


async def test_concurrent_preparations_do_not_interfere(tasks: directories.TaskDirectories) -> None:
    paths = await asyncio.gather(*(prepared(tasks, task_id=number) for number in range(50)))
    assert len({*paths}) == 50


@pytest.fixture
def unprivileged() -> Iterator[int]:
    """The uid of this test: nobody's if we are root."""
    uid = NOBODY if ROOT else os.geteuid()
    os.seteuid(uid)
    yield uid
    os.seteuid(os.getuid())


async def test_only_root_can_prepare_for_other_users(tasks: directories.TaskDirectories, unprivileged: int) -> None:
    with pytest.raises(errors.StorageError, match="not as root"):
        await tasks.prepare(Place(1), uid=unprivileged + 1, gid=GID, script="")


# --- the output of earlier attempts ----------------------------------------------


async def prepared_for(tasks: directories.TaskDirectories, attempt: int) -> Path:
    return await tasks.prepare(Place(1234), uid=UID, gid=GID, script="exit 0", attempt=attempt)


def texts(path: Path) -> dict[str, str]:
    return {one.name: one.read_text() for one in path.glob("god.*")}


async def test_the_output_of_each_attempt_is_kept_under_its_number(tasks: directories.TaskDirectories) -> None:
    for attempt in (1, 2, 4):  # the third never wrote any output
        path = await prepared_for(tasks, attempt)
        assert not (path / "god.log").exists()
        (path / "god.log").write_text(f"out {attempt}")
        (path / "god.err").write_text(f"err {attempt}")
        if attempt == 2:
            await prepared_for(tasks, 3)
    assert texts(path) == {
        **{"god.log.1": "out 1", "god.log.2": "out 2", "god.log": "out 4"},
        **{"god.err.1": "err 1", "god.err.2": "err 2", "god.err": "err 4"},
    }


async def test_preparing_an_attempt_that_has_begun_leaves_its_output_alone(tasks: directories.TaskDirectories) -> None:
    path = await prepared_for(tasks, 2)
    (path / attempt_files.started_file(2)).write_text("1\n")
    (path / "god.log").write_text("of this attempt")
    await prepared_for(tasks, 2)
    assert texts(path) == {"god.log": "of this attempt"}


async def test_a_users_own_file_is_not_replaced_by_the_output_of_an_earlier_attempt(
    tasks: directories.TaskDirectories,
) -> None:
    path = await prepared_for(tasks, 1)
    for name, text in {"god.log": "out", "god.log.1": "mine", "god.log.1.1": "mine too"}.items():
        (path / name).write_text(text)
    await prepared_for(tasks, 2)
    assert texts(path) == {"god.log.1": "mine", "god.log.1.1": "mine too", "god.log.1.2": "out"}


@pytest.mark.parametrize("kind", ["link", "link in the way", "directory", "pipe"])
async def test_a_planted_output_is_renamed_and_not_followed(
    tasks: directories.TaskDirectories, tmp_path: Path, kind: str
) -> None:
    path, outside = await prepared_for(tasks, 1), tmp_path / "outside"
    outside.write_text("untouched")
    planted = path / "god.log"
    if kind == "link in the way":
        planted.write_text("out")
        (path / "god.log.1").symlink_to(outside)
    elif kind == "link":
        planted.symlink_to(outside)
    elif kind == "directory":
        planted.mkdir()
    else:
        os.mkfifo(planted)
    await asyncio.wait_for(prepared_for(tasks, 2), 5)
    assert not planted.exists()
    assert not planted.is_symlink()
    assert outside.read_text() == "untouched"
    if kind == "link in the way":
        assert (path / "god.log.1.1").read_text() == "out"
    else:
        assert os.path.lexists(path / "god.log.1")


# --- what is planted -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "hard link"])
async def test_a_script_that_was_replaced_is_not_written_through(
    tasks: directories.TaskDirectories, tmp_path: Path, kind: str
) -> None:
    path = await prepared(tasks)
    outside, script = tmp_path / "outside", path / "cmd.sh"
    script.unlink()
    if kind != "dangling link":
        outside.write_text("untouched")
    if kind == "pipe":
        os.mkfifo(script)
    elif kind == "hard link":
        os.link(outside, script)
    else:
        script.symlink_to(outside)
    await asyncio.wait_for(prepared(tasks, "new"), 5)
    assert script.read_text() == "new"
    assert not script.is_symlink()
    assert not outside.exists() if kind == "dangling link" else outside.read_text() == "untouched"


async def test_a_directory_in_place_of_the_script_is_an_error(tasks: directories.TaskDirectories) -> None:
    path = await prepared(tasks)
    (path / "cmd.sh").unlink()
    (path / "cmd.sh").mkdir()
    with pytest.raises(errors.StorageError):
        await prepared(tasks)


@pytest.mark.parametrize("what", [attempt_files.STATE, "."])
async def test_a_link_in_place_of_a_directory_is_not_followed(
    tasks: directories.TaskDirectories, tmp_path: Path, what: str
) -> None:
    path = await prepared(tasks)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    owner = elsewhere.stat().st_uid
    replaced = path / what
    os.rename(replaced if what != "." else path, tmp_path / "moved")
    (path if what == "." else replaced).symlink_to(elsewhere)
    if what == ".":
        with pytest.raises(errors.StorageError):
            await prepared(tasks)
    else:
        await prepared(tasks)
        assert replaced.is_dir()
        assert not replaced.is_symlink()
    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_uid == owner


async def test_a_changed_directory_does_not_block_later_attempts(
    tasks: directories.TaskDirectories,
) -> None:
    path = await prepared(tasks)
    (path / attempt_files.STATE).rmdir()
    (path / attempt_files.STATE).write_text("mine")
    path.chmod(0)
    await prepared(tasks)
    assert (path / attempt_files.STATE).is_dir()
    assert (path / f"{attempt_files.STATE}.1").read_text() == "mine"
    (path / attempt_files.STATE).chmod(0)
    await prepared(tasks)
    assert (mode(path), mode(path / attempt_files.STATE)) == (0o700, 0o700)


async def test_nothing_planted_is_read_as_a_result(tasks: directories.TaskDirectories, tmp_path: Path) -> None:
    path = await left(tasks, started="1\n")
    (tmp_path / "secret").write_text("7\n")
    (path / attempt_files.exit_file(1)).symlink_to(tmp_path / "secret")
    result = await tasks.read_result(Place(1234), 1)
    assert result is not None
    assert result.exit_code is None
    (path / attempt_files.started_file(2)).mkdir()
    assert await tasks.read_result(Place(1234), 2) is None


async def test_a_pipe_in_place_of_a_result_does_not_hang(tasks: directories.TaskDirectories) -> None:
    path = await left(tasks, started="1\n")
    os.mkfifo(path / attempt_files.exit_file(1))
    result = await asyncio.wait_for(tasks.read_result(Place(1234), 1), 5)
    assert result is not None
    assert result.exit_code is None


# --- what is read ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("0\n", 0),
        ("137\n", 137),
        ("255\n", 255),
        (None, None),
        ("", None),
        ("13", None),  # cut short: it may have been 137
        ("\n", None),
        ("256\n", None),
        ("-1\n", None),
        ("1\n2\n", None),
        ("٣\n", None),
        ("x\n", None),
        ("1" * 100 + "\n", None),
    ],
)
async def test_an_exit_code_counts_if_it_is_complete_and_possible(
    tasks: directories.TaskDirectories, line: str | None, code: int | None
) -> None:
    await left(tasks, started="42\n", ended=line)
    result = await tasks.read_result(Place(1234), 1)
    assert result is not None
    assert (result.pid, result.exit_code) == (42, code)
    assert (result.ended_at is None) == (code is None)


async def test_without_a_started_file_there_is_no_result(tasks: directories.TaskDirectories) -> None:
    assert await tasks.read_result(Place(1), 1) is None
    await left(tasks, ended="0\n")
    assert await tasks.read_result(Place(1234), 1) is None
    await left(tasks, started="1\n")
    assert await tasks.read_result(Place(1234), 2) is None


async def test_a_directory_that_cannot_be_read_is_an_error(tasks: directories.TaskDirectories, tmp_path: Path) -> None:
    path = await left(tasks, started="1\n")
    os.rename(path, tmp_path / "moved")
    path.write_text("a file")
    with pytest.raises(errors.StorageError):
        await tasks.read_result(Place(1234), 1)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b", "../x"])
def test_only_plain_names_are_looked_up(tmp_path: Path, name: str) -> None:
    parent = beneath.open_directory(str(tmp_path))
    try:
        with pytest.raises(errors.StorageError):
            beneath.read_small(parent, name, limit=1)
        with pytest.raises(errors.StorageError):
            beneath.write_new(parent, name, b"", mode=0o600, owner=None)
        with pytest.raises(errors.StorageError):
            beneath.open_subdirectory(parent, name)
    finally:
        os.close(parent)
