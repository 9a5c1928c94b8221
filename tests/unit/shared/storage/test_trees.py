"""Trees are removed with anything a task put there, and nothing beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from shared import errors
from shared.storage import trees


def test_a_missing_tree_is_fine(tmp_path: Path) -> None:
    trees.remove(tmp_path / "none")
    trees.remove(tmp_path / "none" / "deeper")


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(5000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    trees.remove(top)
    assert list(tmp_path.iterdir()) == []


def test_a_wide_tree_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for folder in range(30):
        (top / str(folder)).mkdir(parents=True)
        for file in range(50):
            (top / str(folder) / f"{file}\n\udcff").write_text("x")
    trees.remove(top)
    assert not top.exists()


def test_links_pipes_and_closed_folders_are_removed_and_targets_stay(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("keep")
    top = tmp_path / "top"
    (top / "closed" / "in").mkdir(parents=True)
    (top / "link").symlink_to(outside)
    (top / "closed" / "in" / "link").symlink_to(outside / "keep")
    (top / "dangling").symlink_to("nowhere")
    os.mkfifo(top / "pipe")
    (top / "closed" / "in").chmod(0)
    (top / "closed").chmod(0)
    trees.remove(top)
    assert not top.exists()
    assert (outside / "keep").read_text() == "keep"


def test_a_link_in_place_of_the_tree_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "top").symlink_to(outside)
    with pytest.raises(errors.StorageError):
        trees.remove(tmp_path / "top")
    assert outside.is_dir()


def test_an_interrupted_removal_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "top"
    for folder in "abc":
        (top / folder / "x" / "y").mkdir(parents=True)
        (top / folder / "x" / "file").write_text("x")
    removals = iter(range(3))

    def rmdir(*args: object, **options: object) -> None:
        if next(removals, None) is None:
            raise OSError(5, "the disk is gone")
        real(*args, **options)  # type: ignore[arg-type]

    real = os.rmdir
    with monkeypatch.context() as patched:
        patched.setattr(os, "rmdir", rmdir)
        with pytest.raises(errors.StorageError, match="the disk is gone"):
            trees.remove(top)
    assert list(tmp_path.iterdir()) == [top]
    trees.remove(top)
    assert not top.exists()


#: Runs as a process of its own: a thread would take turns with the removal at the interpreter's lock, for up to a minute.
SWAP = """
import os, sys
top, outside = sys.argv[1:]
print("begun", flush=True)
while True:
    try:
        os.mkdir(top + "/a")
        os.rename(top + "/a", top + "/b")
        os.symlink(outside, top + "/a")
        os.rename(top + "/a", top + "/b2")
    except OSError:
        continue
"""


def test_folders_swapped_for_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("keep")
    top = tmp_path / "top"
    argv = [sys.executable, "-I", "-S", "-c", SWAP, str(top), str(outside)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as swapper:
        assert swapper.stdout is not None
        assert swapper.stdout.readline() == "begun\n"
        try:
            for _ in range(2 * settings().max_examples):
                top.mkdir(exist_ok=True)
                try:
                    trees.remove(top)
                except errors.StorageError:
                    continue  # entries are still being added: the next try finds them
        finally:
            swapper.kill()
    assert (outside / "keep").read_text() == "keep"
    trees.remove(top)
