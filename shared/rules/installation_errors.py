"""Errors of the system (errno(3)) that say something of the installation, not of the task that met them: pure."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from shared import errors

#: What operators are told. Any number that is not here is the installation's as well, with the system's own words.
_WORDS: Mapping[int, str] = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "disk quota used up",
    errno.EFBIG: "file size limit reached",
    errno.EMFILE: "too many open files in a process of GoDocker",
    errno.ENFILE: "too many open files in the system",
    errno.ENOMEM: "out of memory",
    errno.EAGAIN: "no more processes can be made",
    errno.EIO: "input/output errors",
    errno.ESTALE: "file system gone (stale file handle)",
    errno.ENOTCONN: "file system gone (not connected)",
    errno.EROFS: "file system read only",
    errno.ENOENT: "directory or program missing",
}

#: What a task can make of its own directory before a later attempt: nothing of these is wrong with the disk.
_OF_THE_TASK = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY, errno.EXDEV})
#: Of reading. Others a task can bring about, with a pipe, a lease or a link in the place of a file.
_OF_READING = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
    }
)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

#: What engines say of the same, in messages of the Go standard library: of those only that no wish of a task brings about.
_SAID: Mapping[str, int] = {
    "no space left on device": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "too many open files": errno.EMFILE,
    "input/output error": errno.EIO,
    "stale file handle": errno.ESTALE,
    "stale nfs file handle": errno.ESTALE,
    "transport endpoint is not connected": errno.ENOTCONN,
}


def words(number: int | None, said: str | None = None) -> str:
    """A short name of what is wrong."""
    return _WORDS.get(number or 0) or (said or "unknown error").lower()


def is_unreadable(error: OSError) -> bool:
    """Whether what is to be read may well be there, and cannot be read now."""
    return error.errno in _OF_READING


def named_in(message: str) -> str | None:
    """What is wrong with an engine's host by its message; None where it says nothing of the kind."""
    lower = message.lower()
    return next((_WORDS[number] for phrase, number in _SAID.items() if phrase in lower), None)


def of_storage(error: OSError, what: str, *, own: bool = False) -> errors.GoDockerError:
    """
    The error for a failed access to `shared_dir`. `own`: below a task's own directory, where the task can be to blame; else it
    is the installation's whatever it is.
    """
    said = words(error.errno, error.strerror)
    if own and error.errno in _OF_THE_TASK:
        return errors.StorageError(f"{what}: {error.strerror}")
    if error.errno in _FULL:
        return errors.StorageFull(f"the shared directory cannot be used: {said}", trouble=said)
    return errors.StorageUnavailable(f"the shared directory cannot be used: {said}", trouble=said)


def of_node(error: OSError) -> errors.NodeUnwell:
    """The error for a process that could not be made on this machine, or its record not be written."""
    said = words(error.errno, error.strerror)
    return errors.NodeUnwell(f"the process could not be made: {said}", trouble=said)
