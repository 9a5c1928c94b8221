"""A proxy before an engine's socket, or a port of this machine, that can cut, stall, count, and shift times."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path

_REQUEST = re.compile(rb"(?:^|\r\n|\})(GET|POST|DELETE|PUT|HEAD) (\S+) HTTP/1\.1\r\n")
#: The seconds of an engine's times, of constant length: in its answers, and of events in our form and in its own.
_TIME = re.compile(
    rb'(?<=")(20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8})|(?:(?<="time":)|(?<="timeNano":)|(?<=since=)|(?<=until=))([0-9]{10})'
)
_TOGETHER = 0.005  #: seconds within which the pieces of one answer arrive


class Proxy:
    """Passes bytes on between its own socket and another, or a port. `requests` are the HTTP request lines that passed."""

    def __init__(self, path: Path, upstream: Path | int) -> None:
        self.url = f"unix://{path}"
        self.requests: list[str] = []
        self._path = path
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._stalled: set[asyncio.StreamWriter] = set()
        self._stall_answers = False
        self._asked: dict[asyncio.StreamWriter, str] = {}  # the latest request of each client
        self._hushed: re.Pattern[str] | None = None
        self.ahead = 0  #: seconds by which the engine's clock seems ahead

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._on_connection, str(self._path))

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        if self._connections:
            await asyncio.wait(self._connections)

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._writers:
            writer.transport.abort()

    def stall(self) -> None:
        """Pass nothing on the present connections from now on, without breaking them."""
        self._stalled |= self._writers

    def stall_answers(self, stalled: bool) -> None:
        """Let requests pass, also new ones, and no answers, while set."""
        self._stall_answers = stalled

    def hush(self, pattern: str | None) -> None:
        """
        Drop answers to matching requests (`GET /…/events`) from now on, including the rest of those begun; None: pass all
        again. May be called from any thread.
        """
        hushed = [writer for writer in list(self._asked) if self._is_hushed(writer)]
        self._hushed = re.compile(pattern) if pattern else None
        if self._server is not None and not pattern:
            for writer in hushed:  # it lacks a piece
                self._server.get_loop().call_soon_threadsafe(writer.transport.abort)

    def _is_hushed(self, client: asyncio.StreamWriter) -> bool:
        return self._hushed is not None and self._hushed.search(self._asked.get(client, "")) is not None

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            there, back = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        try:
            await asyncio.gather(
                self._pass_on(reader, back, client=writer, is_request=True), self._pass_on(there, writer, client=writer)
            )
        finally:
            self._writers -= {writer, back}
            self._asked.pop(writer, None)
            for one in (writer, back):
                one.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._upstream, int):
            return await asyncio.open_connection("127.0.0.1", self._upstream)
        return await asyncio.open_unix_connection(str(self._upstream))

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        data = await reader.read(65536)
        with contextlib.suppress(TimeoutError):
            # A time that is split over two pieces would be missed.
            while self.ahead and data and (more := await asyncio.wait_for(reader.read(65536), _TOGETHER)):
                data += more
        return data

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        client: asyncio.StreamWriter,
        is_request: bool = False,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await self._read(reader):
                if self.ahead:
                    data = _shifted(data, -self.ahead if is_request else self.ahead)
                if is_request:
                    found = [f"{verb.decode()} {path.decode()}" for verb, path in _REQUEST.findall(data)]
                    self.requests += found
                    if found:
                        self._asked[client] = found[-1]
                elif self._stall_answers or self._is_hushed(client):
                    continue
                if writer not in self._stalled:
                    writer.write(data)
                    await writer.drain()
        if writer not in self._stalled:
            writer.close()


def _shifted(data: bytes, seconds: int) -> bytes:
    def shift(found: re.Match[bytes]) -> bytes:
        if found[2]:
            return b"%d" % (int(found[2]) + seconds)
        return (datetime.fromisoformat(found[1].decode()) + timedelta(seconds=seconds)).isoformat().encode()

    return _TIME.sub(shift, data)


@contextlib.asynccontextmanager
async def between(directory: Path, upstream: Path | int) -> AsyncIterator[Proxy]:
    proxy = Proxy(directory / "proxy.sock", upstream)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()


@contextlib.contextmanager
def between_in_thread(directory: Path, upstream: Path | int) -> Iterator[Proxy]:
    """Run the proxy for tests without an event loop. From their thread, only `hush` may be called."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy")
    thread.start()
    proxy = Proxy(directory / "proxy.sock", upstream)
    try:
        asyncio.run_coroutine_threadsafe(proxy.start(), loop).result()
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
