"""
Open files below a directory without ever leaving it, whatever the tasks that own the files have placed there.

A check of a path before its use is a race that a task can win with a symbolic link. Here every component is opened relative
to the directory before it with O_NOFOLLOW, so there is no path left to swap.
"""

from __future__ import annotations

import contextlib
import os
import stat

from shared import errors
from shared.rules import installation_errors

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_directory(path: str) -> int:
    """Return a descriptor of a directory of ours. `path` is trusted; its last component must not be a link."""
    return os.open(path, _DIRECTORY)


def open_subdirectory(parent: int, name: str) -> int:
    """Return a descriptor of a directory directly below `parent`. Raises OSError for links and anything else."""
    _check_component(name)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def write_new(parent: int, name: str, content: bytes, *, mode: int, owner: tuple[int, int] | None) -> None:
    """
    Write `content` to the file `name` below `parent`, replacing a link, a pipe or a file of that name (a directory is an
    error). The new file is created by O_EXCL, so nothing planted is written through.
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
    Return content (at most `limit` bytes) and modification time of a regular file below `parent`, or None if there is none.
    A link, a directory, a pipe or a device counts as none and does not block. Raises OSError if a file may be there but
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
