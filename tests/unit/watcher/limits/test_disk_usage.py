"""Measuring a task's directory."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from services.watcher.limits import disk_usage
from shared.storage import trees

MUCH = 10**12


def fill(path: Path, kib: int) -> None:
    path.write_bytes(os.urandom(kib * 1024))
    with path.open("rb") as file:
        os.fsync(file.fileno())


def on_disk(*paths: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in paths)


def test_all_that_is_below_is_added_up(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    files = [tmp_path / "one", tmp_path / "a" / "two", tmp_path / "a" / "b" / "three"]
    for number, file in enumerate(files):
        fill(file, 40 * (number + 1))
    expected = on_disk(*files, tmp_path / "a", tmp_path / "a" / "b")
    assert disk_usage.measure(tmp_path, enough=MUCH) == expected >= 240 * 1024


def test_links_are_not_followed_and_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    fill(outside / "large", 400)
    fill(inside / "mine", 40)
    (inside / "file").symlink_to(outside / "large")
    (inside / "folder").symlink_to(outside)
    os.link(inside / "mine", inside / "again")
    links = on_disk(inside / "file", inside / "folder")
    assert disk_usage.measure(inside, enough=MUCH) == on_disk(inside / "mine") + links


def test_a_sparse_file_counts_by_its_blocks(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**12)
    assert disk_usage.measure(tmp_path, enough=MUCH) < 1024**2


def test_no_tree_is_too_deep(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d" * 100, dir_fd=here)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with os.fdopen(os.open("large", os.O_WRONLY | os.O_CREAT, dir_fd=here), "wb") as file:
        file.write(os.urandom(400 * 1024))
        os.fsync(file.fileno())
    os.close(here)
    before = len(os.listdir("/proc/self/fd"))
    try:
        assert disk_usage.measure(tmp_path, enough=MUCH) >= 400 * 1024
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        trees.remove(tmp_path / ("d" * 100))


def test_the_walk_ends_once_enough_is_counted(tmp_path: Path) -> None:
    for number in range(50):
        fill(tmp_path / str(number), 8)
    assert 16 * 1024 < disk_usage.measure(tmp_path, enough=16 * 1024) <= 24 * 1024


def test_a_cancelled_measurement_returns_its_sum_so_far(tmp_path: Path) -> None:
    fill(tmp_path / "file", 40)
    cancelled = threading.Event()
    cancelled.set()
    assert disk_usage.measure(tmp_path, enough=MUCH, cancelled=cancelled) == 0


async def test_a_missing_directory_holds_nothing_and_the_thread_has_the_lowest_priority(tmp_path: Path) -> None:
    with disk_usage.Measurer() as measurer:
        assert await measurer.measure(tmp_path / "gone", enough=MUCH) == 0
        thread = next(iter(measurer._thread._threads))
        assert thread.native_id is not None
        assert os.getpriority(os.PRIO_PROCESS, thread.native_id) == 19
    assert os.getpriority(os.PRIO_PROCESS, 0) < 19


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_other_file_systems_are_not_entered(tmp_path: Path) -> None:
    point = tmp_path / "point"
    point.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", str(point)], check=False, timeout=20).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        fill(point / "large", 400)
        assert disk_usage.measure(tmp_path, enough=MUCH) < 400 * 1024
    finally:
        subprocess.run(["umount", str(point)], check=True, timeout=20)
