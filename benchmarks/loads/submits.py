"""
Load generator that submits tasks as fast as they are answered, in its own process: `python -m benchmarks.loads.submits`.

Each connection is a closed loop on plain sockets: the next request is sent after the answer. Only status and length are parsed,
so the process takes little from the measured machine, and it reports how much.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast
from urllib.parse import urlsplit

import uvloop

from benchmarks import tasks

TIMEOUT = 60.0  #: seconds after which a load is given up


@dataclass(frozen=True, slots=True)
class Order:
    """The load to generate. It ends after `seconds` or `count` submissions, whichever is given."""

    url: str
    token: str
    connections: int
    seconds: float | None = None
    count: int | None = None
    task: dict[str, object] = field(default_factory=tasks.typical)


@dataclass(frozen=True, slots=True)
class Load:
    """Result of a load. Times are in seconds; `cpu` is the generator's own share of one core."""

    began: float
    seconds: float
    latencies: list[float]
    failures: int
    cpu: float

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0


def run(order: Order) -> Load:
    """Generate the load in a new process and wait for it. Raises `subprocess.SubprocessError`."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loads.submits"],
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT + 5,
        check=True,
    )
    return Load(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    def __init__(self, generator: _Generator) -> None:
        self._generator = generator
        self._received = b""
        self._asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if _is_whole(self._received):
            self._generator.note(time.perf_counter() - self._asked_at, well=self._received.startswith(b"HTTP/1.1 200"))
            self._received = b""
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._generator.lost()

    def _ask(self) -> None:
        if self._generator.may_ask():
            self._asked_at = time.perf_counter()
            self._transport.write(self._generator.request)
        else:
            self._transport.close()


class _Generator:
    def __init__(self, order: Order) -> None:
        self._order = order
        self._asked = 0
        self._open = order.connections
        self._latencies: list[float] = []
        self._failures = 0
        self._done = asyncio.Event()
        self.request = _request(order)

    async def run(self) -> Load:
        loop, address = asyncio.get_running_loop(), urlsplit(self._order.url)
        assert address.hostname
        assert address.port
        began, clock, used = time.time(), time.perf_counter(), time.process_time()
        self._deadline = clock + (self._order.seconds or TIMEOUT)
        for _ in range(self._order.connections):
            await loop.create_connection(lambda: _Connection(self), address.hostname, address.port)
        async with asyncio.timeout(TIMEOUT):
            await self._done.wait()
        seconds = time.perf_counter() - clock
        cpu = (time.process_time() - used) / seconds
        return Load(began, seconds, self._latencies, self._failures, cpu)

    def may_ask(self) -> bool:
        left = self._order.count is None or self._asked < self._order.count
        self._asked += left
        return left and time.perf_counter() < self._deadline

    def note(self, latency: float, *, well: bool) -> None:
        if well:
            self._latencies.append(latency)
        else:
            self._failures += 1

    def lost(self) -> None:
        self._open -= 1
        if not self._open:
            self._done.set()


def _request(order: Order) -> bytes:
    body = json.dumps(order.task).encode()
    head = (
        "POST /api/1.0/task HTTP/1.1\r\n"
        f"Host: {urlsplit(order.url).netloc}\r\n"
        f"Authorization: Bearer {order.token}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _is_whole(received: bytes) -> bool:
    head, separator, body = received.partition(b"\r\n\r\n")
    if not separator:
        return False
    at = head.lower().find(b"\r\ncontent-length:")
    return at >= 0 and len(body) >= int(head[at + 17 :].partition(b"\r\n")[0])


def main() -> None:
    order = Order(**json.load(sys.stdin))

    async def generate() -> Load:
        return await _Generator(order).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(asdict(runner.run(generate())), sys.stdout)


if __name__ == "__main__":
    main()
