"""
System calls that Python has no name for. Here and in what the fork server imports (`forkserver`, `shim`, `command`,
`descendants`), only small modules of the standard library are used: each run's shim is a copy of that process.
"""

from __future__ import annotations

import ctypes
import os

_SET_PDEATHSIG, _SET_NAME, _SET_CHILD_SUBREAPER, _SET_NO_NEW_PRIVS = 1, 15, 36, 38

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Inherit all orphans among our descendants, however deep (PR_SET_CHILD_SUBREAPER, prctl(2)). Not passed on by fork."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """No program that this process or what it makes executes gains rights, for ever (PR_SET_NO_NEW_PRIVS)."""
    _prctl(_SET_NO_NEW_PRIVS, 1)


def die_with_parent(number: int) -> None:
    """Get this signal when our parent ends. Changing the user forgets it, executing a program does not (PR_SET_PDEATHSIG)."""
    _prctl(_SET_PDEATHSIG, number)


def set_name(name: str) -> None:
    """Be shown under this name, of which 15 bytes count (PR_SET_NAME)."""
    _libc.prctl(_SET_NAME, name.encode()[:15], 0, 0, 0)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def oom_score() -> int | None:
    """How readily the kernel ends us when memory runs out (proc(5), `oom_score_adj`); None where it does not say."""
    try:
        with open("/proc/self/oom_score_adj", "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def set_oom_score(score: int) -> None:
    """Only root may lower it. Where it cannot be set, it stays as it is."""
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(descriptor, str(score).encode())
    except OSError:
        pass
    finally:
        os.close(descriptor)
