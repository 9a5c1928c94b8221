"""Resolve a path strictly below a directory to one checked descriptor."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared import errors
from shared.storage import openat2

MAX_PATH = 20 * 1024  #: bytes; percent-encoded three times that, which still fits a URL
_BATCH = 4000  #: bytes of path per call: PATH_MAX is 4096
_TRIES = 8
_WAY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

#: Errors that are reported as "not found": they are no fault of the installation.
_ABSENT = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EINVAL}
    | {errno.EAGAIN, errno.ENXIO, errno.EISDIR}  # a lease held by the task; a pipe or a device that replaced the file
)


@dataclass(frozen=True, slots=True)
class Found:
    """An open regular file or directory. The caller closes `descriptor`."""

    descriptor: int
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


def components(path: bytes) -> list[bytes]:
    """
    Return the names in a relative path, which may end with a slash. Raises `errors.NotFound` for a path with `.`, `..`,
    empty names or NUL, or longer than `MAX_PATH`.
    """
    if not path:
        return []
    names = path.removesuffix(b"/").split(b"/")
    if len(path) > MAX_PATH or b"\0" in path or any(name in (b"", b".", b"..") for name in names):
        raise errors.NotFound("there is no such file")
    return names


def open_beneath(root: int, names: Sequence[bytes], flags: int) -> int:
    """
    Return a descriptor of the path `names` below `root`, through directories only. Raises OSError. The depth is not bounded
    by PATH_MAX: long paths are walked in pieces, each beneath the one before.
    """
    at = root
    try:
        batches = list(_batches(names))
        for batch in batches[:-1]:
            below = _open(at, batch, _WAY)
            if at != root:
                os.close(at)
            at = below
        return _open(at, batches[-1] if batches else [b"."], flags)
    finally:
        if at != root:
            os.close(at)


def find(root: int, names: Sequence[bytes]) -> Found:
    """
    Open the regular file or directory at `names`. Raises `errors.NotFound` for anything else (links, pipes, devices,
    sockets, and files with more than one hard link, which may be another user's), and `errors.StorageError`.
    """
    with translated():
        # O_PATH has no side effects: opening a pipe would block, opening a device can do things.
        looked = open_beneath(root, names, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(looked)
            if not (stat.S_ISDIR(status.st_mode) or is_servable(status)):
                raise errors.NotFound("there is no such file")
            # Through /proc the same inode is opened for reading, whatever has the name by now.
            descriptor = os.open(f"/proc/self/fd/{looked}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(looked)
    return Found(descriptor, os.fstat(descriptor))


def is_servable(status: os.stat_result) -> bool:
    """
    Return whether it is a regular file without other hard links. Without `fs.protected_hardlinks`, a task of the process
    executor can link others' files into its directory, and we, as root, would read them for it.
    """
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise system errors as `errors.NotFound`, `errors.StorageFull` or `errors.StorageError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _ABSENT:
            raise errors.NotFound("there is no such file") from None
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise errors.StorageFull("the disk of shared_dir is full") from error
        raise errors.StorageError(f"the directory could not be used: {error.strerror}") from error


def _open(at: int, names: Sequence[bytes], flags: int) -> int:
    if not openat2.is_available():
        return walk(at, names, flags)
    for left in reversed(range(_TRIES)):
        try:
            return openat2.open_beneath(at, b"/".join(names), flags)
        except BlockingIOError:
            # The kernel saw renames during the walk and cannot tell whether they matter: retry.
            if not left:
                raise
    raise AssertionError("not reached")


def walk(at: int, names: Sequence[bytes], flags: int) -> int:
    """Open a path name by name, as openat2 does, for kernels without it: each name relative to the one before, never a link."""
    here = os.dup(at)
    try:
        for name in names[:-1]:
            below = os.open(name, _WAY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
        return os.open(names[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)


def _batches(names: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    batch: list[bytes] = []
    size = 0
    for name in names:
        if batch and size + len(name) + 1 > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += len(name) + 1
    if batch:
        yield batch
