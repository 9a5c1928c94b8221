"""System errors (errno(3)) that are caused by the installation, not by the task that met them: pure."""

from __future__ import annotations

import errno
from collections.abc import Mapping

from shared import errors

#: Short names for operators. Other numbers are the installation's fault as well, in the system's own words.
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

#: Errors that a task can cause in its own directory for a later attempt: the disk is fine.
_OF_THE_TASK = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY, errno.EXDEV})
#: Errors of reading that a task cannot cause. It can cause others, with a pipe, a lease or a link in place of a file.
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

#: Messages of engines (from Go's standard library) for the same errors; only those that no task's request can cause.
_SAID: Mapping[str, int] = {
    "no space left on device": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "too many open files": errno.EMFILE,
    "input/output error": errno.EIO,
    "stale file handle": errno.ESTALE,
    "stale nfs file handle": errno.ESTALE,
    "transport endpoint is not connected": errno.ENOTCONN,
}


def words(number: int | None, text: str | None = None) -> str:
    """Return a short name of the error."""
    return _WORDS.get(number or 0) or (text or "unknown error").lower()


def is_unreadable(error: OSError) -> bool:
    """Return whether the file may exist and cannot be read now."""
    return error.errno in _OF_READING


def named_in(message: str) -> str | None:
    """Return the host's error that an engine's message names; None for any other message."""
    lower = message.lower()
    return next((_WORDS[number] for phrase, number in _SAID.items() if phrase in lower), None)


def of_storage(error: OSError, what: str, *, own: bool = False) -> errors.GoDockerError:
    """
    Return the error of a failed access to `shared_dir`. `own`: below a task's own directory, where the task can be to blame;
    elsewhere every error is the installation's.
    """
    text = words(error.errno, error.strerror)
    if own and error.errno in _OF_THE_TASK:
        return errors.StorageError(f"{what}: {error.strerror}")
    if error.errno in _FULL:
        return errors.StorageFull(f"the shared directory cannot be used: {text}", trouble=text)
    return errors.StorageUnavailable(f"the shared directory cannot be used: {text}", trouble=text)


def of_node(error: OSError) -> errors.NodeUnwell:
    """Return the error of a process that could not be created on this machine, or whose record could not be written."""
    text = words(error.errno, error.strerror)
    return errors.NodeUnwell(f"the process could not be made: {text}", trouble=text)
