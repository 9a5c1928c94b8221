"""Remove a directory with any contents a task may leave: links, pipes, ten thousand levels, no permissions."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from shared import errors

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 10_000  #: entries read before they are removed
_ROUNDS = 100  #: passes over one directory: a process that creates files all the time must not block us


def remove(path: Path) -> None:
    """
    Remove the directory `path`; a missing one is fine. The path above is trusted, the contents are not: no link is
    followed. An interrupted removal leaves the rest for the next. Raises `errors.StorageError`.
    """
    try:
        parent = os.open(path.parent, _DIRECTORY)
    except FileNotFoundError:
        return
    except OSError as error:
        raise errors.StorageError(f"{path.parent} could not be opened: {error.strerror}") from error
    try:
        remove_below(parent, path.name)
    except FileNotFoundError:
        return
    except OSError as error:
        raise errors.StorageError(f"{path.name} could not be removed: {error.strerror}") from error
    finally:
        os.close(parent)


def remove_below(parent: int, name: str) -> None:
    """Remove the directory `name` below an open one. Raises OSError; FileNotFoundError also if another process was faster."""
    top = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        # Directories are first moved up into the top one: no path grows long, and two descriptors suffice.
        names = (f".{secrets.token_hex(8)}.{number}" for number in itertools.count())
        waiting = _empty(top, top, names)
        while waiting:
            below = waiting.pop()
            directory = os.open(below, _DIRECTORY, dir_fd=top)
            try:
                waiting += _empty(directory, top, names)
            finally:
                os.close(directory)
            os.rmdir(below, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _empty(directory: int, top: int, names: Iterator[str]) -> list[str]:
    """Unlink the files of a directory and move its directories to the top. Return their names there."""
    moved: list[str] = []
    moved_names: set[str] = set()
    for _ in range(_ROUNDS):
        # Repeat until it is empty: reading a shrinking directory may skip entries.
        entries = _some(directory, moved_names)
        if not entries:
            break
        for name in entries:
            try:
                os.unlink(name, dir_fd=directory)
            except IsADirectoryError:
                _open_up(directory, name)
                moved.append(next(names))
                os.rename(name, moved[-1], src_dir_fd=directory, dst_dir_fd=top)
                if directory == top:
                    moved_names.add(moved[-1])
            except FileNotFoundError:
                pass  # another process was faster
    return moved


def _some(directory: int, moved_names: set[str]) -> list[str]:
    with os.scandir(directory) as entries:
        found = (entry.name for entry in entries if entry.name not in moved_names)
        return list(itertools.islice(found, _CHUNK))


def _open_up(directory: int, name: str) -> None:
    """Restore our right to read and change a directory, which its owner may have removed."""
    if os.geteuid() == 0:
        return
    with contextlib.suppress(OSError):
        inside = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            os.chmod(f"/proc/self/fd/{inside}", 0o700)
        finally:
            os.close(inside)
