"""Image registries: one that gives every request the same answer, error or none, and one that has an image."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum

TLS_HANDSHAKE = b"\x16"  #: first byte of a client that has not tried plain HTTP yet
REASONS = {401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS", 500: "UNKNOWN"}

_SCHEMA = "application/vnd.docker.distribution.manifest.v2+json"
_DRIP = 1.0  #: seconds between two bytes

#: Answers the request with this first line.
_Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def answering(status: int | None) -> AsyncIterator[str]:
    """Return the registry's address. `status` None: it accepts connections and answers nothing."""

    async def answer(request: str, writer: asyncio.StreamWriter) -> None:
        if status is not None:
            writer.write(_refusal(200 if request.startswith("GET /v2/ ") else status))

    async with _listening(answer, silent=status is None) as address:
        yield address


class Layer(StrEnum):
    """The answer to a request for the image's only layer."""

    WHOLE = "whole"
    TRUNCATED = "truncated"  #: the connection ends in the middle
    DRIP = "drip"  #: a byte a second
    HANG = "hang"  #: no byte at all


class Registry:
    """It has one image, under every name and tag, of `size` bytes. `layer` may change at any time."""

    def __init__(self, layer: Layer, size: int) -> None:
        self.layer = layer
        self.address = ""
        self.layers_sent = 0
        self._blob, config = _image(size)
        self._manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": _SCHEMA,
                "config": _description("application/vnd.docker.container.image.v1+json", config),
                "layers": [_description("application/vnd.docker.image.rootfs.diff.tar.gzip", self._blob)],
            }
        )
        self._blobs = {_digest(config): config}

    async def answer(self, request: str, writer: asyncio.StreamWriter) -> None:
        verb, path, _ = request.split(" ", 2)
        if "/manifests/" in path:
            head = _head(200, len(self._manifest), _SCHEMA, f"Docker-Content-Digest: {_digest(self._manifest)}")
            writer.write(head + (self._manifest if verb == "GET" else b""))
        elif (digest := path.rpartition("/")[2]) in self._blobs:
            writer.write(_head(200, len(self._blobs[digest])) + self._blobs[digest])
        elif digest == _digest(self._blob):
            await self._send_layer(writer)
        else:
            writer.write(_refusal(200))

    async def _send_layer(self, writer: asyncio.StreamWriter) -> None:
        self.layers_sent += 1
        writer.write(_head(200, len(self._blob)))
        match self.layer:
            case Layer.WHOLE:
                writer.write(self._blob)
            case Layer.TRUNCATED:
                writer.write(self._blob[: len(self._blob) // 2])
                await writer.drain()
                writer.close()
            case Layer.DRIP:
                for byte in self._blob:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(_DRIP)
            case Layer.HANG:
                await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def serving(layer: Layer = Layer.WHOLE, *, size: int = 65536) -> AsyncIterator[Registry]:
    registry = Registry(layer, size)
    async with _listening(registry.answer) as registry.address:
        yield registry


@contextlib.asynccontextmanager
async def _listening(answer: _Answer, *, silent: bool = False) -> AsyncIterator[str]:
    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections[task] = writer
        task.add_done_callback(connections.pop)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while (first := await reader.readexactly(1)) != TLS_HANDSHAKE or silent:
                request = first + await reader.readuntil(b"\r\n\r\n")
                await answer(request.split(b"\r\n", 1)[0].decode(), writer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task, writer in connections.items():
            writer.transport.abort()
            task.cancel()
        if connections:
            await asyncio.wait(list(connections))


def _refusal(status: int) -> bytes:
    code = REASONS.get(status, "")
    body = _json({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]} if code else {})
    return _head(status, len(body)) + body


def _head(status: int, length: int, kind: str = "application/json", *more: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status} X",
        "Docker-Distribution-Api-Version: registry/2.0",
        f"Content-Type: {kind}",
        f"Content-Length: {length}",
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def _image(size: int) -> tuple[bytes, bytes]:
    """Return a layer that no other image has, and the configuration of an image of it."""
    buffer, content = io.BytesIO(), os.urandom(size)
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    raw = buffer.getvalue()
    rootfs = {"type": "layers", "diff_ids": [_digest(raw)]}
    return gzip.compress(raw, 1), _json({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs})


def _description(kind: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _json(content: object) -> bytes:
    return json.dumps(content).encode()
