"""An image registry that answers everything in one way: with an error, or with nothing at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

TLS_HANDSHAKE = b"\x16"  #: how a client begins that has not tried plain HTTP yet
REASONS = {401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN", 500: "UNKNOWN"}


@contextlib.asynccontextmanager
async def answering(status: int | None) -> AsyncIterator[str]:
    """The registry's address. `status` None: it takes connections and says nothing."""
    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections[task] = writer
        task.add_done_callback(connections.pop)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while (first := await reader.readexactly(1)) != TLS_HANDSHAKE or status is None:
                request = first + await reader.readuntil(b"\r\n\r\n")
                if status is not None:
                    writer.write(_answer(200 if request.startswith(b"GET /v2/ ") else status))
                    await writer.drain()
        writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in connections.values():
            writer.transport.abort()
        if connections:
            await asyncio.wait(list(connections))


def _answer(status: int) -> bytes:
    code = REASONS.get(status, "")
    body = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]} if code else {}).encode()
    head = [
        f"HTTP/1.1 {status} X",
        "Docker-Distribution-Api-Version: registry/2.0",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body
