"""
Open files below a directory without ever leaving it, whatever the tasks that own the files have planted there.

A check of a path followed by its use is a race that a task can win with a symbolic link. Here every component is opened
relative to the directory before it with O_NOFOLLOW, so there is no path left to swap.
"""

from __future__ import annotations

import contextlib
import os
import stat

from shared import errors
from shared.rules import installation_errors

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_directory(path: str) -> int:
    """A descriptor of a directory of ours. `path` is trusted; its last component must not be a link."""
    return os.open(path, _DIRECTORY)


def open_subdirectory(parent: int, name: str) -> int:
    """A descriptor of a directory directly below `parent`. Raises OSError for links and anything else."""
    _check_component(name)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def write_new(parent: int, name: str, content: bytes, *, mode: int, owner: tuple[int, int] | None) -> None:
    """
    Make the file `name` below `parent` hold `content`, replacing what stands there under that name, be it a
    link, a pipe or a file (a directory is refused). The new file is made by O_EXCL, so nothing planted is written through.
    """
    _check_component(name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, mode, dir_fd=parent)
    except FileExistsError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        descriptor = os.open(name, flags, mode, dir_fd=parent)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fchmod(descriptor, mode)
        if owner is not None:
            os.fchown(descriptor, *owner)
    finally:
        os.close(descriptor)


def read_small(parent: int, name: str, *, limit: int) -> tuple[bytes, float] | None:
    """
    Content (at most `limit` bytes) and modification time of a regular file below `parent`, or None where there is none: a
    link, a directory, a pipe or a device counts as none, and opening it does not hang. Raises OSError where one may be there and
    cannot be read now: unreadable is not absent.
    """
    _check_component(name)
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        if installation_errors.is_unreadable(error):
            raise
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        return os.read(descriptor, limit), status.st_mtime
    finally:
        os.close(descriptor)


def _check_component(name: str) -> None:
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise errors.StorageError(f"not a file name: {name!r}")
