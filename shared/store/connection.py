"""The connection to MongoDB, and the translation of its driver's errors."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ParamSpec, TypeVar

import pymongo
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorDatabase
from pymongo import errors as driver_errors

from shared import clock, errors
from shared.observe import metrics
from shared.settings import Settings
from shared.units import urls

P = ParamSpec("P")
T = TypeVar("T")

Database = AsyncIOMotorDatabase[dict[str, Any]]

CLOSE_TIMEOUT = 1.0  #: seconds for goodbyes, which may be skipped

#: Server codes (src/mongo/base/error_codes.yml) of requests that are wrong, not allowed or in conflict, and that fail again
#: if repeated. All other codes, known or not, describe the server: no primary, shutting down, out of time or disk.
_LASTING_CODES = frozenset(
    {
        *(
            2,
            4,
            9,
            11,
            13,
            14,
            15,
            17,
            18,
            20,
            22,
            26,
            27,
            28,
            31,
            33,
            35,
            40,
            48,
            52,
            53,
            54,
            55,
            56,
            57,
            59,
            66,
            67,
            68,
        ),
        *(72, 73, 85, 86, 115, 121, 168, 197, 225, 231, 238, 241, 303, 10334, 11000, 11001, 12582, 17280, 17419, 17420),
    }
)
#: Errors that the driver raises without asking the server.
_LASTING = (
    driver_errors.ConfigurationError,
    driver_errors.InvalidName,
    driver_errors.InvalidOperation,
    driver_errors.InvalidURI,
    driver_errors.DocumentTooLarge,
    driver_errors.CollectionInvalid,
)
_LOGIN_CODES = frozenset({13, 18})  #: Unauthorized, AuthenticationFailed


def appname_of(settings: Settings) -> str:
    """Return the application name under which an installation's services connect."""
    return f"godocker-{settings.instance}"


@asynccontextmanager
async def database(settings: Settings, *, appname: str | None = None) -> AsyncIterator[Database]:
    """
    Open the database of this installation.

    `timeoutMS` bounds every operation as a whole and makes the driver retry reads and single-document writes within it
    (specification "Client Side Operations Timeout"). A retried write carries its transaction number, so the server applies
    it once. Acknowledged writes are on the disks of a majority.
    """
    password = settings.mongo_password
    # None here would override the login of the URL.
    login: dict[str, Any] = (
        {"username": settings.mongo_user, "password": password.get_secret_value()} if password else {}
    )
    client: AsyncIOMotorClient[dict[str, Any]] = _client(
        settings.mongo_url,
        **login,
        w="majority",
        journal=True,
        retryWrites=True,
        retryReads=True,
        timeoutMS=int(settings.mongo_timeout * 1000),
        connectTimeoutMS=2000,
        heartbeatFrequencyMS=2000,  # with the connect timeout, the time to notice a hung server; the default is 10 s
        maxPoolSize=32,
        appname=appname or appname_of(settings),
        uuidRepresentation="standard",
    )
    try:
        with _address(urls.mongo_hosts(settings.mongo_url)):
            yield client[settings.mongo_db]
    finally:
        # Closing sends a goodbye, which without a server would wait as long as an operation.
        with pymongo.timeout(CLOSE_TIMEOUT):
            client.close()


def _client(url: str, **options: Any) -> AsyncIOMotorClient[dict[str, Any]]:
    """Return the driver's client. Raises `errors.ConfigurationError` for an address or option that the driver rejects."""
    try:
        return AsyncIOMotorClient(url, **options)
    except (driver_errors.PyMongoError, ValueError, TypeError) as error:
        login = url.partition("://")[2].rpartition("@")[0]
        secret = any(part and part in str(error) for part in login.split(":"))
        raise errors.ConfigurationError(f"mongo_url cannot be used: {'it is malformed' if secret else error}") from None


@contextmanager
def _address(hosts: str) -> Iterator[None]:
    """Add the server's address to errors that end its use."""
    try:
        yield
    except errors.StoreUnavailable as error:
        raise errors.StoreUnavailable(str(error).replace("MongoDB", f"MongoDB at {hosts}", 1)) from error
    except driver_errors.OperationFailure as error:
        if error.code not in _LOGIN_CODES:
            raise
        detail = (error.details or {}).get("errmsg", "not authorized")
        raise errors.ConfigurationError(
            f"MongoDB at {hosts} refuses the login ({detail}): check mongo_url, mongo_user and mongo_password"
        ) from None


def is_passing(error: Exception) -> bool:
    """Return whether the same call may succeed later. Errors of an unknown kind count as passing."""
    if not isinstance(error, driver_errors.PyMongoError) or isinstance(error, _LASTING):
        return False
    if error.timeout or isinstance(error, driver_errors.ConnectionFailure | driver_errors.WTimeoutError):
        return True
    if isinstance(error, driver_errors.BulkWriteError):
        codes = [item.get("code") for item in error.details.get("writeErrors", ())]
        return not codes or any(code not in _LASTING_CODES for code in codes)
    return not isinstance(error, driver_errors.OperationFailure) or error.code not in _LASTING_CODES


def _met_another(error: driver_errors.PyMongoError) -> bool:
    return isinstance(error, driver_errors.OperationFailure) and error.has_error_label("TransientTransactionError")


@contextmanager
def translation() -> Iterator[None]:
    """
    Raise `errors.StoreUnavailable` if the driver reports that the server did not answer. Conflicts between transactions
    pass through: `transactions.Transactions` retries them.
    """
    try:
        yield
    except driver_errors.PyMongoError as error:
        if is_passing(error) and not _met_another(error):
            metrics.STORE_ERRORS.inc()
            code = getattr(error, "code", None)
            detail = type(error).__name__ if code is None else f"{type(error).__name__}, code {code}"
            raise errors.StoreUnavailable(f"MongoDB does not answer ({detail})") from error
        raise


def translated(call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Wrap a call in `translation` and time it under the name of its module."""
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
