"""Measure the directories of running tasks in one thread of the lowest priority."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shared import clock

ENTRIES = 2_000_000  #: read in one task's directory, at most
SECONDS = 60.0  #: for one measurement
_BLOCK = 512  #: bytes of a block of st_blocks, on any file system (stat(2))
_LOWEST = 19

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Measurer:
    """Measures one directory at a time. Use it in a `with`."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="disk", initializer=_lower_priority)
        self._closed = threading.Event()

    def __enter__(self) -> Measurer:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def measure(self, path: Path, *, enough: int) -> int:
        """
        Return the bytes on disk below a directory, counting no further than `enough` is exceeded; 0 where it cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._measure, path, enough)

    def _measure(self, path: Path, enough: int) -> int:
        try:
            return measure(path, enough=enough, cancelled=self._closed)
        except OSError:
            return 0  # it was removed


def measure(path: Path, *, enough: int, cancelled: threading.Event | None = None) -> int:
    """
    Measure as `Measurer.measure` does. Links are not followed and other file systems not entered; a file with several names
    counts once. A task can nest directories deeper than the longest path, so descriptors are used, two at a time. Raises OSError.
    """
    walk = _Walk(enough, cancelled or threading.Event())
    root = os.open(path, _DIRECTORY)
    walk.below(root)
    return walk.total


class _Walk:
    def __init__(self, enough: int, cancelled: threading.Event) -> None:
        self.total = 0
        self._enough = enough
        self._cancelled = cancelled
        self._left = ENTRIES
        self._until = clock.monotonic() + SECONDS
        self._linked: set[tuple[int, int]] = set()

    def below(self, root: int) -> None:
        """Add up all that is below `root`, and close it."""
        here = root
        try:
            device = os.fstat(here).st_dev
            #: For each level from the top to `here`: the directory's identity, and the names in it that are left to enter.
            levels = [(_identity(here), self._count(here, device))]
            while levels and not self._is_over():
                names = levels[-1][1]
                if names:
                    below = _enter(here, names.pop(), device)
                    if below is not None:
                        os.close(here)
                        here = below
                        levels.append((_identity(here), self._count(here, device)))
                    continue
                levels.pop()
                if levels:
                    above = os.open("..", _DIRECTORY, dir_fd=here)
                    os.close(here)
                    here = above
                    if _identity(here) != levels[-1][0]:
                        return  # it was moved meanwhile: the next measurement finds it in its new place
        finally:
            os.close(here)

    def _count(self, directory: int, device: int) -> list[str]:
        """Add up a directory's entries. Return the names of its subdirectories."""
        names = []
        with os.scandir(directory) as entries:
            for entry in entries:
                self._left -= 1
                if self._is_over():
                    break
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    self._add(status)
                    if stat.S_ISDIR(status.st_mode) and status.st_dev == device:
                        names.append(entry.name)
        return names

    def _add(self, status: os.stat_result) -> None:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            inode = (status.st_dev, status.st_ino)
            if inode in self._linked:
                return
            self._linked.add(inode)
        self.total += status.st_blocks * _BLOCK

    def _is_over(self) -> bool:
        return (
            self.total > self._enough or self._left <= 0 or clock.monotonic() > self._until or self._cancelled.is_set()
        )


def _enter(directory: int, name: str, device: int) -> int | None:
    """Open a subdirectory; None where it is gone, replaced by something else, or closed to us."""
    try:
        below = os.open(name, _DIRECTORY, dir_fd=directory)
    except OSError:
        return None
    if os.fstat(below).st_dev != device:
        os.close(below)
        return None
    return below


def _identity(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino


def _lower_priority() -> None:
    # On Linux a priority is a thread's own (setpriority(2), notes).
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
