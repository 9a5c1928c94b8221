"""Numbers for clusters side by side: each is one process's at a time, and free again when that process ends."""

from __future__ import annotations

import socket
from pathlib import Path

NUMBERS = range(64)

_NAME = "godocker-cluster-"


class Claim:
    """
    A number that is ours while this is open. It is held by an abstract socket (unix(7)): a name in no file system, which the
    kernel forgets with the process, so a claim is never left behind and never has to be swept.
    """

    def __init__(self, number: int, held: socket.socket) -> None:
        self.number = number
        self._held = held

    def close(self) -> None:
        self._held.close()


def claim(number: int) -> Claim | None:
    """The number, or None where somebody has it."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        name.bind(f"\0{_NAME}{number}")
    except OSError:
        name.close()
        return None
    return Claim(number, name)


def is_claimed(number: int) -> bool:
    # Read, not tried: a try would itself be a claim for a moment.
    names = (line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines())
    return any(name == f"@{_NAME}{number}" for name in names)
