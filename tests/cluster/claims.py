"""Numbers for clusters that run side by side: each belongs to one process, and is free when that ends."""

from __future__ import annotations

import socket
from pathlib import Path

NUMBERS = range(64)

_NAME = "godocker-cluster-"


class Claim:
    """
    A claimed number, until closed. An abstract socket (unix(7)) holds it: a name in no file system, which the kernel
    forgets with the process, so that no claim is left behind.
    """

    def __init__(self, number: int, held: socket.socket) -> None:
        self.number = number
        self._held = held

    def close(self) -> None:
        self._held.close()


def claim(number: int) -> Claim | None:
    """Claim a number; return None if another process has it."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        name.bind(f"\0{_NAME}{number}")
    except OSError:
        name.close()
        return None
    return Claim(number, name)


def is_claimed(number: int) -> bool:
    # Read, not tried: a try would itself claim it for a moment.
    names = (line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines())
    return any(name == f"@{_NAME}{number}" for name in names)
