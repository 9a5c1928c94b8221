"""The connection to MongoDB, and the translation of its driver's errors."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ParamSpec, TypeVar

import pymongo
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import errors as driver_errors

from shared import clock, errors, metrics
from shared.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

Database = AsyncIOMotorDatabase[dict[str, Any]]

CLOSE_TIMEOUT = 1.0  #: seconds for what is only polite at the end

#: Server codes that say "not now" rather than "not so": no primary, shutting down, out of time.
_PASSING_CODES = frozenset({50, 64, 89, 91, 189, 10107, 11600, 11601, 11602, 13435, 13436})


def appname_of(settings: Settings) -> str:
    """What the services of an installation call themselves at the server."""
    return f"godocker-{settings.instance}"


@asynccontextmanager
async def database(settings: Settings, *, appname: str | None = None) -> AsyncIterator[Database]:
    """
    The database of this installation.

    `timeoutMS` bounds every operation as a whole and makes the driver retry within it, reads and single-document writes alike,
    as often as there is time (specification "Client Side Operations Timeout"). A retried write carries its transaction
    number, so the server does it once. What was told to a user is on the disks of a majority.
    """
    password = settings.mongo_password
    # None given here would take away what the URL says.
    login: dict[str, Any] = (
        {"username": settings.mongo_user, "password": password.get_secret_value()} if password else {}
    )
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        settings.mongo_url,
        **login,
        w="majority",
        journal=True,
        retryWrites=True,
        retryReads=True,
        timeoutMS=int(settings.mongo_timeout * 1000),
        connectTimeoutMS=2000,
        maxPoolSize=32,
        appname=appname or appname_of(settings),
        uuidRepresentation="standard",
    )
    try:
        yield client[settings.mongo_db]
    finally:
        # It says goodbye to the server, and without a server would wait for one as long as an operation.
        with pymongo.timeout(CLOSE_TIMEOUT):
            client.close()


def is_passing(error: Exception) -> bool:
    """Whether the same call may well work a little later."""
    if isinstance(error, driver_errors.ConnectionFailure | driver_errors.WTimeoutError):
        return True
    if isinstance(error, driver_errors.OperationFailure) and error.code in _PASSING_CODES:
        return True
    return isinstance(error, driver_errors.PyMongoError) and bool(error.timeout)


@contextmanager
def translation() -> Iterator[None]:
    """Raise `errors.StoreUnavailable` where the driver says that the server did not answer."""
    try:
        yield
    except driver_errors.PyMongoError as error:
        if is_passing(error):
            metrics.STORE_ERRORS.inc()
            raise errors.StoreUnavailable(f"MongoDB does not answer ({type(error).__name__})") from error
        raise


def translated(call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The call with the `translation` of its errors, timed under the name of its module."""
    store = call.__module__.rpartition(".")[2]

    @functools.wraps(call)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        began = clock.monotonic()
        try:
            with translation():
                return await call(*args, **kwargs)
        finally:
            metrics.store_seconds(store).observe(clock.monotonic() - began)

    return wrapper
