"""Remove a directory with all that is in it, whatever a task has put there: links, pipes, ten thousand levels, no permissions."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from shared import errors

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 10_000  #: entries looked at before they are removed
_ROUNDS = 100  #: looks at one directory: somebody who makes files all the time does not keep us for ever


def remove(path: Path) -> None:
    """
    Remove the directory `path`; one that is not there is fine. What stands above it is trusted, what is in it is not: no link
    is followed. Whoever is interrupted leaves the rest in its place, for the next. Raises `errors.StorageError`.
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
    """The same for the directory `name` in an open one. Raises OSError; FileNotFoundError also where another was faster."""
    top = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        # Directories are moved up into the top one before their turn comes: no path grows long, and two descriptors do.
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
    """Unlink the files of a directory and move its directories to the top. Return the names they have there."""
    moved: list[str] = []
    kept: set[str] = set()
    for _ in range(_ROUNDS):
        # Again until there is nothing: reading a directory while it shrinks may pass over entries.
        entries = _some(directory, kept)
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
                    kept.add(moved[-1])
            except FileNotFoundError:
                pass  # somebody else was faster
    return moved


def _some(directory: int, kept: set[str]) -> list[str]:
    with os.scandir(directory) as entries:
        found = (entry.name for entry in entries if entry.name not in kept)
        return list(itertools.islice(found, _CHUNK))


def _open_up(directory: int, name: str) -> None:
    """Give ourselves the right to read and change a directory, which its owner may have taken away."""
    if os.geteuid() == 0:
        return
    with contextlib.suppress(OSError):
        inside = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            os.chmod(f"/proc/self/fd/{inside}", 0o700)
        finally:
            os.close(inside)
