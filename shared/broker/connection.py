"""The connection to Redis, and the translation of its driver's errors."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

from redis import asyncio as redis
from redis import exceptions as driver_errors
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from shared import clock, errors
from shared.observe import metrics
from shared.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


class _SocketConnection(UnixDomainSocketConnection):
    """
    A connection over a socket of this machine. The driver prepares a connection twice, first within its tries to connect: a
    hung server would multiply the tries, and with health checks without end.
    """

    async def on_connect(self) -> None:
        """Do nothing: `connect_check_health` prepares the connection, as any other."""


@asynccontextmanager
async def client(settings: Settings) -> AsyncIterator[redis.Redis]:
    """
    Return a client of this installation's Redis. Every call has `redis_timeout` per try and three tries: calls carry hints,
    and a caller must not wait long for one.
    """
    connection = redis.Redis(
        host=settings.redis_host,
        port=settings.redis_port,
        unix_socket_path=str(settings.redis_socket) if settings.redis_socket else None,
        db=settings.redis_db,
        password=settings.redis_password.get_secret_value() if settings.redis_password else None,
        socket_timeout=settings.redis_timeout,
        socket_connect_timeout=settings.redis_timeout,
        retry=Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2),
        retry_on_error=[driver_errors.ConnectionError, driver_errors.TimeoutError],
        health_check_interval=15,
        decode_responses=True,
        encoding_errors="replace",  # foreign values are recognized by their content and must not raise here
        protocol=2,
    )
    if settings.redis_socket:
        connection.connection_pool.connection_class = _SocketConnection
    try:
        yield connection
    finally:
        await connection.aclose()


def translated(call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Time a call and raise `errors.BrokerUnavailable` for any driver error: to a caller, each means that the hint was lost."""
    operation = getattr(call, "__name__", "call")

    @functools.wraps(call)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        began = clock.monotonic()
        try:
            return await call(*args, **kwargs)
        except (driver_errors.RedisError, OSError) as error:
            metrics.REDIS_ERRORS.inc()
            raise errors.BrokerUnavailable(f"Redis does not answer ({type(error).__name__})") from error
        finally:
            metrics.redis_seconds(operation).observe(clock.monotonic() - began)

    return wrapper
