"""
The system call openat2(2), which the standard library lacks: open a path that cannot leave a directory.

With RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS the kernel itself refuses, during the walk, every way out
of the directory: `..`, absolute paths, symbolic links and the links of /proc.
"""

from __future__ import annotations

import ctypes
import functools
import os

_NUMBER = 437  # the same on every architecture, as for all newer calls
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_RESOLVE = _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@functools.cache
def is_available() -> bool:
    """Return whether the kernel has the call (Linux 5.6) and allows it: filters of old container engines answer EPERM."""
    try:
        descriptor = open_beneath(None, b".", os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return False
    os.close(descriptor)
    return True


def open_beneath(directory: int | None, path: bytes, flags: int) -> int:
    """
    Return a descriptor of `path` below `directory` (None: the current one). Raises OSError; ELOOP for links, EXDEV for ways
    out.
    """
    how = _How(flags | os.O_CLOEXEC, 0, _RESOLVE)
    at = -100 if directory is None else directory  # AT_FDCWD
    result: int = _libc().syscall(
        ctypes.c_long(_NUMBER),
        ctypes.c_int(at),
        ctypes.c_char_p(path),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
