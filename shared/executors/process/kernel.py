"""
System calls that Python lacks. This module and others that the fork server imports (`forkserver`, `shim`, `command`,
`descendants`) use only small modules of the standard library: each run's shim is a copy of that process.
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
    """Keep all programs that we and our descendants execute from gaining rights, forever (PR_SET_NO_NEW_PRIVS)."""
    _prctl(_SET_NO_NEW_PRIVS, 1)


def die_with_parent(number: int) -> None:
    """Receive this signal when our parent ends (PR_SET_PDEATHSIG). Changing the user resets it, executing a program does not."""
    _prctl(_SET_PDEATHSIG, number)


def set_name(name: str) -> None:
    """Set the name of this process, of which 15 bytes count (PR_SET_NAME)."""
    _libc.prctl(_SET_NAME, name.encode()[:15], 0, 0, 0)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def oom_score() -> int | None:
    """Return our `oom_score_adj` (proc(5)), the OOM killer's preference; None where it cannot be read."""
    try:
        with open("/proc/self/oom_score_adj", "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def set_oom_score(score: int) -> None:
    """Set our `oom_score_adj` if possible: only root may lower it."""
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
