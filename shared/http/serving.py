"""Serve HTTP until a service stops: the gateway's routes, and every service's `/health` and `/metrics`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from shared import errors
from shared.http import binding, endless, protocol
from shared.observe import exposition

VERSION = metadata.version("godocker")

#: A check that raises an `errors.GoDockerError` unless its dependency answers.
Check = Callable[[], Awaitable[None]]

#: Seconds that an idle connection is kept. Longer than clients and proxies keep theirs (nginx 60, Go 90, Caddy 120 by
#: default): the sender must close first, or its next request meets a closed connection.
KEEP_ALIVE = 150

_CHECK_TIMEOUT = 3.0  #: seconds
_SHUTDOWN_TIMEOUT = 5  #: seconds for requests in progress
_UNSENT = 256 * 1024  #: unsent bytes per client in the kernel, see tcp(7)
_CLIENT_TIMEOUT = 60  #: seconds in which a client must read something, see tcp(7)


async def health(service: str, checks: Mapping[str, Check]) -> tuple[int, dict[str, Any]]:
    """Return status (200, or 503 if a dependency does not answer) and body of a health route."""
    results = await asyncio.gather(*(_look(check) for check in checks.values()))
    dependencies = dict(zip(checks, results, strict=True))
    well = all(result["ok"] for result in results)
    body = {
        "service": service,
        "version": VERSION,
        "status": "ok" if well else "degraded",
        "dependencies": dependencies,
    }
    return (200 if well else 503), body


async def _look(check: Check) -> dict[str, Any]:
    began = time.monotonic()
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT):
            await check()
    except (errors.GoDockerError, TimeoutError) as error:
        return {"ok": False, "error": str(error) or "no answer in time"}
    return {"ok": True, "milliseconds": round((time.monotonic() - began) * 1000, 1)}


def health_app(
    service: str,
    checks: Mapping[str, Check],
    routes: Sequence[Route] = (),
    *,
    leads: Callable[[], bool] = lambda: False,
) -> Starlette:
    """
    Return the small HTTP application of a background service, with its few `routes`. While it `leads`, it exposes the
    metrics of the whole system.
    """

    async def on_health(_: Request) -> Response:
        status, body = await health(service, checks)
        return Response(orjson.dumps(body), status_code=status, media_type="application/json; charset=UTF-8")

    async def on_metrics(_: Request) -> Response:
        return Response(exposition.text(service, leads=leads()), media_type=exposition.CONTENT_TYPE)

    return Starlette(routes=[Route("/health", on_health), Route("/metrics", on_metrics), *routes])


class _Server(uvicorn.Server):
    """A server that leaves signals to its service."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    app: ASGIApp,
    stop: asyncio.Event,
    *,
    host: str,
    port: int,
    listening: socket.socket | None = None,
    proxies: Sequence[str] = (),
) -> None:
    """
    Serve `app` until `stop`, on `listening` if given, else on `host`:`port`. `proxies` (addresses and networks) are trusted
    to name their clients. Raises `errors.ConfigurationError` if the address cannot be used.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT,
        timeout_keep_alive=KEEP_ALIVE,
        http=protocol.BoundedProtocol,
        ws="none",
        server_header=False,
        # By default it trusts any client on this machine, and those named in the environment.
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        backlog=2048,
    )
    server = _Server(config)
    sockets = [listening or bind(host, port)]
    for one in sockets:
        # Inherited by accepted sockets: the kernel disconnects a client that stopped reading, also at the end of a
        # response, when our own code no longer watches.
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _CLIENT_TIMEOUT * 1000)
        # Otherwise each client that requests a large file and reads nothing is sent megabytes first, while others wait.
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
    # Long-lived objects: scanning them again and again would stop the process for a tenth of a second each time.
    gc.collect()
    gc.freeze()
    serving = asyncio.create_task(server.serve(sockets=sockets), name="http-server")
    stopping = asyncio.create_task(stop.wait(), name="http-stop")
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        endless.close_all()
        server.should_exit = True
        stopping.cancel()
        await serving


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `errors.ConfigurationError` if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
    except OSError as error:
        opened.close()
        raise binding.refused(host, port, error) from None
    opened.listen(2048)
    return opened


def url_of(listening: socket.socket, host: str) -> str:
    """Return the URL at which other hosts (for a loopback `host`, other processes) reach a listening socket."""
    name = socket.gethostname() if host in ("", "0.0.0.0", "::") else host
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{listening.getsockname()[1]}"
