"""Prepare a task's directory for its next attempt, keeping the output of earlier ones."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence

from shared.models import attempt_files
from shared.storage import beneath

OUTPUTS = ("god.log", "god.err")


def keep(directory: int, states: Sequence[int], *, attempt: int) -> None:
    """
    Rename the output of the attempt before: `god.log` to `god.log.1` before attempt 2 begins.

    The output of an attempt that has already begun stays. `directory` and `states` are descriptors of the task's directory
    and of its wrappers' directories: nothing is renamed out of them, and no link is followed. Raises OSError.
    """
    started = attempt_files.started_file(attempt).split("/")[1]
    if attempt < 2 or any(_is_there(state, started) for state in states):
        return
    for name in OUTPUTS:
        target = _free_name(directory, f"{name}.{attempt - 1}")
        # A planted link is renamed itself: rename(2) follows none at the end of a path.
        with contextlib.suppress(FileNotFoundError):
            os.rename(name, target, src_dir_fd=directory, dst_dir_fd=directory)


def folder(directory: int, name: str) -> int:
    """
    Return a descriptor of a folder of ours in the task's directory, created if need be. A file or link in its place is
    renamed, so that it does not block later attempts. Raises OSError.
    """
    for _ in range(2):
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=directory)
        try:
            found = beneath.open_subdirectory(directory, name)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            os.rename(name, _free_name(directory, f"{name}.1"), src_dir_fd=directory, dst_dir_fd=directory)
        else:
            open_to_owner(found)
            return found
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))


def open_to_owner(directory: int) -> None:
    """Restore the owner's rights on a directory that an attempt removed. Raises OSError."""
    mode = stat.S_IMODE(os.fstat(directory).st_mode)
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        os.fchmod(directory, mode | stat.S_IRWXU)


def _free_name(directory: int, base: str) -> str:
    """Return `base`, or with a number appended if that exists: no file of the user is replaced."""
    name, number = base, 0
    while _is_there(directory, name):
        number += 1
        name = f"{base}.{number}"
    return name


def _is_there(directory: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True
