"""HTTP byte by byte: a server for routes of a test, and connections whose bytes the test sends as it likes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Route

from shared.http import serving

SLACK = 10.0  #: seconds for an answer, on a machine that is busy


@asynccontextmanager
async def served(routes: Sequence[Route]) -> AsyncIterator[int]:
    """Serve the routes as a service serves its own; gives the port."""
    listening, stop = serving.bind("127.0.0.1", 0), asyncio.Event()
    app = Starlette(routes=routes)
    server = asyncio.create_task(serving.serve(app, stop, host="", port=0, listening=listening), name="server")
    try:
        yield listening.getsockname()[1]
    finally:
        stop.set()
        await asyncio.wait_for(server, SLACK)


class Connection:
    """A connection to a server. Without Nagle's algorithm, so that each write is a segment."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        """Send each part in a segment of its own."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            if len(parts) > 1:
                await asyncio.sleep(0.05)

    async def told(self) -> bytes:
        """Return everything that the server sends until it closes."""
        return await asyncio.wait_for(self.reader.read(), SLACK)

    async def answer(self, ending: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(ending), SLACK)


async def connect(port: int) -> Connection:
    made = Connection(*await asyncio.open_connection("127.0.0.1", port))
    made.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
