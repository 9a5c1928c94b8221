"""Ranges of uids for users without an account on the hosts, distinct for each system on one machine."""

from __future__ import annotations

import hashlib
from pathlib import Path

from shared.models.system.identity import Identity
from shared.settings import Settings

FIRST = 1_000_000  #: above the uids that distributions and directories use
EACH = 10_000  #: size of one system's range
SYSTEMS = 200_000  #: number of ranges; the last uid is below 2**31, the limit of some programs


_MAP = Path("/proc/self/uid_map")


def first(settings: Settings, identity: Identity, *, highest: int | None = None) -> int:
    """
    Return the first uid of a system's range. If tasks are processes of this machine, users of two systems with the same uid could
    read and kill each other's tasks, so the range is derived from the system's mark unless `uid_start` is configured. A system of
    an earlier version continues its range. `highest` is the last uid of this host; None: ask the kernel.
    """
    if settings.executor != "process" or "uid_start" in settings.model_fields_set or identity.earlier is not None:
        return settings.uid_start
    if (highest_uid() if highest is None else highest) < FIRST + SYSTEMS * EACH:
        return settings.uid_start  # a container with few uids
    digest = hashlib.sha256(identity.mark.encode()).digest()
    return FIRST + int.from_bytes(digest[:8], "big") % SYSTEMS * EACH


def highest_uid() -> int:
    """Return the highest uid of this host, which can be low in a container (user_namespaces(7))."""
    try:
        lines = [line.split() for line in _MAP.read_text().splitlines()]
    except OSError:
        return 2**32 - 2
    return max((int(begin) + int(count) - 1 for begin, _, count in lines), default=0)
