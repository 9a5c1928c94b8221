"""Free loopback ports, stored so that a restart uses the same ones."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterable
from pathlib import Path

from shared import errors

LOOPBACK = "127.0.0.1"
_TRIES = 200
_LOWEST = 20000  #: above the default range for ports of tasks
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def reserve(file: Path, names: Iterable[str]) -> dict[str, int]:
    """
    Return a free port per name, preferably the one stored in `file`, and store the result there.

    Raises `errors.ConfigurationError` if no port is free.
    """
    stored = _read(file)
    ports: dict[str, int] = {}
    for name in names:
        port = stored.get(name)
        ports[name] = port if port and port not in ports.values() and is_free(port) else _find(set(ports.values()))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**stored, **ports}))
    return ports


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As servers do: connections of an earlier server in TIME_WAIT must not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _find(taken: set[int]) -> int:
    # Below the kernel's range for outgoing connections. A client that retries a dead server's port within that range can get this
    # port as its own, connect to itself, and keep the server from listening again.
    highest = _lowest_ephemeral() - 1
    for _ in range(_TRIES):
        port = random.randint(min(_LOWEST, highest - 1000), highest)
        if port not in taken and is_free(port):
            return port
    raise errors.ConfigurationError(f"no free port found on {LOOPBACK} in {_TRIES} tries")


def _lowest_ephemeral() -> int:
    try:
        return max(int(_EPHEMERAL.read_text().split()[0]), 4096)
    except (OSError, ValueError):
        return 32768


def _read(file: Path) -> dict[str, int]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: port for name, port in content.items() if isinstance(port, int) and 0 < port < 65536}
