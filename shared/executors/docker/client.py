"""HTTP calls to one Docker Engine: pools, deadlines, translation of failures."""

from __future__ import annotations

import asyncio
import contextlib
import io
import ssl
import tarfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiodocker
import aiohttp
import orjson

from shared import errors, settings

POOL = 64  #: connections for short calls; more do not make an engine faster
KEEPALIVE = 300.0  #: seconds an idle connection is kept
CONNECT_TIMEOUT = 5.0  #: seconds to connect
_TAR_HEADERS = (
    4096  #: bytes before the content of an archive's first file, at most: long names have headers of their own
)
WORDS = 300  #: characters kept of an engine's message

_CANNOT_CONNECT = 900  #: aiodocker's own status for a connection that failed or broke


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file in a container, running or not. `content` holds its first bytes."""

    mode: int
    size: int
    is_regular: bool
    link: str  #: target of a symbolic link; empty otherwise
    content: bytes

    @property
    def is_whole(self) -> bool:
        return len(self.content) == self.size


class Engine:
    """
    One engine. Answers with an error status raise `aiodocker.DockerError`; failures that leave the effect unknown (no
    connection, a broken one, no answer in time) raise `errors.NodeUnavailable`.
    """

    def __init__(self, node: settings.Node, *, timeout: float) -> None:
        """`timeout`: seconds for a call without its own."""
        self.name = node.name
        self._node = node
        self._timeout = timeout
        self.is_closed = False
        self._short: aiodocker.Docker | None = None
        self._long: aiodocker.Docker | None = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        timeout: float | None = None,
        long: bool = False,
    ) -> tuple[int, Any]:
        """
        Call the engine and return status and decoded body (None where it is not JSON). `body` is sent as JSON, bytes as a tar
        archive. `timeout` is in seconds. `long` calls have connections of their own, so that they delay no short one.
        """
        limits = aiohttp.ClientTimeout(total=timeout or self._timeout, sock_connect=CONNECT_TIMEOUT)
        for is_last in (False, True):
            client = self._client(long=long)
            try:
                async with self._request(client, method, path, params, body, limits) as response:
                    payload = await response.read()
                    is_json = response.content_type == "application/json"
                    return response.status, orjson.loads(payload) if payload and is_json else None
            except aiodocker.DockerError as error:
                if is_last or not _is_of_another_version(error):
                    raise
                # The engine was upgraded and refused the call: negotiate the version again.
                client.api_version = "auto"
        raise AssertionError("unreachable")

    @property
    def api(self) -> tuple[int, ...] | None:
        """The API version in use; None before the first call."""
        spoken = self._short.api_version.removeprefix("v") if self._short is not None else ""
        numbers = spoken.split(".")
        return tuple(int(number) for number in numbers) if all(number.isdigit() for number in numbers) else None

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, path: str, *, params: Mapping[str, str], total: float | None, silence: float | None
    ) -> AsyncIterator[AsyncIterator[Any]]:
        """
        Yield the JSON lines of a continuing answer. `total`: seconds in all; `silence`: seconds without a byte after which the
        connection counts as dead.
        """
        limits = aiohttp.ClientTimeout(total=total, sock_read=silence, sock_connect=CONNECT_TIMEOUT)
        client = self._client(long=True)
        try:
            async with self._request(client, method, path, params, None, limits) as response:
                yield _json_lines(response)
        except aiodocker.DockerError as error:
            if _is_of_another_version(error):
                client.api_version = "auto"  # for the next attempt
            raise

    async def read_file(self, container: str, path: str, *, limit: int) -> ImageFile | None:
        """Read the first `limit` bytes of a file in a container; None where it does not exist. Links are not followed."""
        limits = aiohttp.ClientTimeout(total=self._timeout, sock_connect=CONNECT_TIMEOUT)
        try:
            async with self._request(
                self._client(long=True), "GET", f"containers/{container}/archive", {"path": path}, None, limits
            ) as response:
                data = bytearray()
                async for chunk in response.content.iter_any():
                    data += chunk
                    if len(data) >= limit + _TAR_HEADERS:
                        break
        except aiodocker.DockerError as error:
            if error.status == 404:
                return None
            raise
        return _first_of(bytes(data), limit=limit)

    @contextlib.asynccontextmanager
    async def afresh(self) -> AsyncIterator[Engine]:
        """Yield the same engine with new connections. An engine that is shutting down answers only on existing ones."""
        other = Engine(self._node, timeout=self._timeout)
        try:
            yield other
        finally:
            await other.close()

    async def close(self) -> None:
        """Close all connections for good."""
        self.is_closed = True
        for client in (self._short, self._long):
            if client is not None:
                await client.session.close()
                await client.close()
        self._short = self._long = None

    @contextlib.asynccontextmanager
    async def _request(
        self,
        client: aiodocker.Docker,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Any,
        limits: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with (
                # Around the client's own limits, which do not cover its negotiation of the API version.
                asyncio.timeout(limits.total),
                await _send(client, method, path, params, body, limits) as response,
            ):
                yield response
        except aiodocker.DockerError as error:
            if error.status != _CANNOT_CONNECT:
                raise
            # The engine may come back with another version.
            client.api_version = "auto"
            raise errors.NodeUnavailable(self.name, words(error.message)) from error
        except TimeoutError as error:
            raise errors.NodeUnavailable(self.name, f"no answer from the engine in time ({method} {path})") from error
        except (aiohttp.ClientError, OSError) as error:
            raise errors.NodeUnavailable(self.name, words(str(error) or type(error).__name__)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise errors.NodeUnavailable(self.name, "what answers there is not a Docker Engine") from error

    def _client(self, *, long: bool) -> aiodocker.Docker:
        # Made at first use: a session belongs to the loop it is made in.
        if self.is_closed:
            raise errors.NodeUnavailable(self.name, "it is no longer configured")
        if long:
            self._long = self._long or self._connect(limit=0)
            return self._long
        self._short = self._short or self._connect(limit=POOL)
        return self._short

    def _connect(self, *, limit: int) -> aiodocker.Docker:
        url = self._node.url
        timeout = aiohttp.ClientTimeout(total=self._timeout, sock_connect=CONNECT_TIMEOUT)
        connector: aiohttp.BaseConnector
        if url.startswith("unix://"):
            connector = aiohttp.UnixConnector(url.removeprefix("unix://"), limit=limit, keepalive_timeout=KEEPALIVE)
            url = "http://localhost"
        else:
            try:
                tls = tls_context(self._node)
            except errors.ConfigurationError as error:
                raise errors.NodeUnavailable(self.name, str(error)) from error
            connector = aiohttp.TCPConnector(ssl=tls or True, limit=limit, keepalive_timeout=KEEPALIVE)
            url = f"{'https' if tls else 'http'}://{url.split('://', 1)[1]}"
        session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return aiodocker.Docker(url=url, connector=connector, session=session, timeout=timeout)


async def _send(
    client: aiodocker.Docker,
    method: str,
    path: str,
    params: Mapping[str, str] | None,
    body: Any,
    limits: aiohttp.ClientTimeout,
) -> aiohttp.ClientResponse:
    """
    Send one request of the versioned API in the client's session. aiodocker has public methods for whole objects only, none
    that takes a deadline or gives the answer as a stream. Raises `aiodocker.DockerError`.
    """
    if client.api_version == "auto":
        await client.version()  # sets it
    try:
        response = await client.session.request(
            method,
            f"{client.docker_host}/{client.api_version}/{path}",
            params=params,
            data=body if body is None or isinstance(body, bytes) else orjson.dumps(body),
            headers={"Content-Type": "application/x-tar" if isinstance(body, bytes) else "application/json"},
            timeout=limits,
        )
    except TimeoutError:
        raise
    except aiohttp.ClientConnectionError as error:
        message = f"Cannot connect to Docker Engine via {client.docker_host} [{error}]"
        raise aiodocker.DockerError(_CANNOT_CONNECT, message) from error
    if response.status >= 400:
        async with response:
            content = await response.read()
        is_json = response.content_type == "application/json"
        raise aiodocker.DockerError(
            response.status, orjson.loads(content)["message"] if is_json else content.decode("utf8")
        )
    return response


def _first_of(archive: bytes, *, limit: int) -> ImageFile | None:
    """Return the first file of a tar archive that may be truncated; None where it holds none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            entry = opened.next()
    except tarfile.TarError:
        return None
    if entry is None:
        return None
    content = archive[entry.offset_data :][: min(entry.size, limit)] if entry.isreg() else b""
    return ImageFile(entry.mode, entry.size, entry.isreg(), entry.linkname if entry.issym() else "", content)


def _is_of_another_version(error: aiodocker.DockerError) -> bool:
    return error.status == 400 and "client version" in error.message.lower()


def words(message: str) -> str:
    """Return an engine's message as one line of bounded length without control characters."""
    lines = message.strip().splitlines()
    line = "".join(char if char.isprintable() else " " for char in (lines[0] if lines else "no reason given"))
    return line if len(line) <= WORDS else f"{line[: WORDS - 1]}…"


async def _json_lines(response: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    # Not `readline`: it raises on a line longer than its buffer, and an image's labels can make one.
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield orjson.loads(line)


def tls_context(node: settings.Node) -> ssl.SSLContext | None:
    """Return the TLS context of an engine; None without TLS. Raises `errors.ConfigurationError`."""
    if node.url.startswith("unix://") or not (node.tls_ca or node.tls_cert or node.url.startswith("https://")):
        return None
    try:
        context = ssl.create_default_context(cafile=str(node.tls_ca) if node.tls_ca else None)
        if node.tls_cert:
            context.load_cert_chain(str(node.tls_cert), str(node.tls_key) if node.tls_key else None)
    except OSError as error:
        raise errors.ConfigurationError(f"the certificates of node {node.name} cannot be used: {error}") from error
    return context
