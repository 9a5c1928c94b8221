"""Engines that are too old, or are upgraded while we run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from shared import settings
from shared.executors.docker import client
from shared.executors.docker import executor as docker
from tests.support.harness import rigs

_REQUEST = re.compile(rb"^(\S+) /(v[0-9.]+/)?(\S+) HTTP")


class Versioned:
    """A minimal engine that reports its version and refuses clients with an older one."""

    def __init__(self) -> None:
        self.api, self.least = "1.41", "1.12"
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while header := await reader.readuntil(b"\r\n\r\n"):
            found = _REQUEST.match(header)
            assert found is not None
            path = found[3].decode().partition("?")[0]
            version = (found[2] or b"").decode().strip("v/")
            self.asked.append(f"{version} {path}")
            status, answer = self._answer(path, version)
            content = orjson.dumps(answer)
            head = f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
            writer.write(head.encode() + content)
            await writer.drain()

    def _answer(self, path: str, version: str) -> tuple[int, dict[str, object]]:
        if version and _numbers(version) < _numbers(self.least):
            words = f"client version {version} is too old. Minimum supported API version is {self.least}"
            return 400, {"message": words}
        if path == "version":
            return 200, {"ApiVersion": self.api, "Version": "18.09"}
        return 200, {"NCPU": 2, "MemTotal": 2**30, "ServerVersion": "18.09", "OSType": "linux"}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@pytest.fixture
async def versioned() -> AsyncIterator[tuple[Versioned, settings.Node]]:
    made = Versioned()
    with rigs.directory() as place:
        socket = Path(place) / "socket"

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await made.serve(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        server = await asyncio.start_unix_server(serve, str(socket))
        yield made, settings.Node(name="n1", url=f"unix://{socket}")
        server.close()


async def test_the_api_version_is_negotiated_again_after_an_upgrade(
    versioned: tuple[Versioned, settings.Node],
) -> None:
    engine, node = versioned
    made = client.Engine(node, timeout=5.0)
    await made.call("GET", "info")
    engine.api, engine.least = "1.47", "1.44"
    assert (await made.call("GET", "info"))[1]["NCPU"] == 2
    assert engine.asked[-1] == "1.47 info"
    await made.close()


async def test_an_engine_that_is_too_old_is_not_ready_and_both_versions_are_named(
    versioned: tuple[Versioned, settings.Node],
) -> None:
    engine, node = versioned
    engine.api = "1.39"
    made = docker.DockerExecutor(settings.Settings(nodes=[node]))
    (report,) = await made.nodes()
    assert not report.ready
    assert "1.39" in (report.reason or "")
    assert "1.41" in (report.reason or "")
    await made.close()
