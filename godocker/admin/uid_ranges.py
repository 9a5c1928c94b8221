"""The numbers that a system gives to users without an account: two systems on one machine must not give the same ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

from shared.models.identity import Identity
from shared.settings import Settings

FIRST = 1_000_000  #: above what distributions and directories give to people
EACH = 10_000  #: numbers of one system
SYSTEMS = 200_000  #: the last number is below 2**31, where some programs count no further


_MAP = Path("/proc/self/uid_map")


def first(settings: Settings, identity: Identity, *, highest: int | None = None) -> int:
    """
    Where a system begins to count. Where tasks are processes of the machine, a number that two systems give lets the users of one
    read and kill what the other's run: there it is made of the system's mark, unless it is configured. What an earlier version
    gave is gone on with. `highest` is the last number that there is here, None for what the kernel says.
    """
    if settings.executor != "process" or "uid_start" in settings.model_fields_set or identity.earlier is not None:
        return settings.uid_start
    if (there_are() if highest is None else highest) < FIRST + SYSTEMS * EACH:
        return settings.uid_start  # in a container that was given few
    digest = hashlib.sha256(identity.mark.encode()).digest()
    return FIRST + int.from_bytes(digest[:8], "big") % SYSTEMS * EACH


def there_are() -> int:
    """The last number that users can have here: in a container it may be a low one."""
    try:
        lines = [line.split() for line in _MAP.read_text().splitlines()]
    except OSError:
        return 2**32 - 2
    return max((int(begin) + int(count) - 1 for begin, _, count in lines), default=0)
