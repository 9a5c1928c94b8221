"""Load generator that reads one large answer as fast as possible, in its own process: `python -m benchmarks.loads.downloads`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

TIMEOUT = 120.0

_BUFFER = 1024**2


@dataclass(frozen=True, slots=True)
class Order:
    """The request: a URL, as it is sent."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Taken:
    """Result: bytes of content, seconds from the request to the last byte, and the reader's share of one core."""

    size: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Throughput in MB/s."""
        return self.size / self.seconds / 1e6


def take(order: Order) -> Taken:
    """Download in a new process and wait for it. Raises `subprocess.SubprocessError`."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loads.downloads"],
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return Taken(**json.loads(done.stdout))


def _take(order: Order) -> Taken:
    where = urlsplit(order.url)
    headers = "".join(f"{name}: {value}\r\n" for name, value in order.headers.items())
    target = f"{where.path}?{where.query}" if where.query else where.path
    with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
        began, used = time.perf_counter(), time.process_time()
        connection.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {where.netloc}\r\n{headers}Connection: close\r\n\r\n".encode()
        )
        size = _content(connection)
        seconds = time.perf_counter() - began
        return Taken(size, seconds, (time.process_time() - used) / seconds)


def _content(connection: socket.socket) -> int:
    received, buffer = b"", bytearray(_BUFFER)
    while b"\r\n\r\n" not in received:
        piece = connection.recv(_BUFFER)
        if not piece:
            raise ConnectionError(f"no answer: {received[:200]!r}")
        received += piece
    head, _, begun = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(f"not well: {head[:200]!r}")
    size = len(begun)
    while taken := connection.recv_into(buffer):
        size += taken
    return size


if __name__ == "__main__":
    json.dump(asdict(_take(Order(**json.load(sys.stdin)))), sys.stdout)
