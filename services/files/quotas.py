"""Track the usage of personal storages during uploads, so that concurrent ones cannot exceed a quota."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable

from shared import clock, errors
from shared.storage import resolve
from shared.units import sizes

_BLOCK = 4096
_FRESH = 5.0  #: seconds for which a measure is reused, since it walks through all files
_MAX_DEPTH = 2048  #: levels that are measured

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def cost(size: int) -> int:
    """
    Return the bytes charged for a file of `size` bytes: whole blocks, at least one, so that empty files are not free.
    """
    return max(-(-size // _BLOCK), 1) * _BLOCK


def measure(root: int) -> int:
    """Return the bytes charged for everything below a directory, without following links. Raises OSError."""
    total = 0
    todo: list[list[bytes]] = [[]]
    while todo:
        names = todo.pop()
        try:
            directory = resolve.open_beneath(root, names, _DIRECTORY)
        except OSError:
            if not names:
                raise
            continue  # removed or replaced meanwhile
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        total += cost(status.st_size)
                        if stat.S_ISDIR(status.st_mode) and len(names) < _MAX_DEPTH:
                            todo.append([*names, os.fsencode(entry.name)])
        finally:
            os.close(directory)
    return total


class Account:
    """The usage of one personal storage with uploads in progress."""

    def __init__(self) -> None:
        self.settled = 0  #: bytes in the storage
        self.pending = 0  #: bytes of uploads in progress
        self.uploads = 0  #: in progress
        self.measured_at: float | None = None
        self.lock = asyncio.Lock()  #: so that a file is counted once, by a measure or by its upload

    def is_fresh(self) -> bool:
        return self.measured_at is not None and clock.monotonic() - self.measured_at < _FRESH

    def check(self, more: int, *, quota: int | None) -> None:
        """Raise `errors.QuotaExceeded` if `more` bytes do not fit."""
        if quota is not None and self.settled + self.pending + more > quota:
            left = max(quota - self.settled - self.pending, 0)
            raise errors.QuotaExceeded(
                f"the file does not fit: of {sizes.shown(quota)} of personal storage {sizes.shown(left)} are left"
            )


class Claim:
    """The bytes that one upload has reserved of an account, until it is settled or abandoned."""

    def __init__(self, account: Account, *, quota: int | None) -> None:
        self._account = account
        self._quota = quota
        self._reserved = 0

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def grow(self, size: int) -> None:
        """Reserve `size` bytes in total for the upload. Raises `errors.QuotaExceeded`."""
        more = max(cost(size) - self._reserved, 0)
        self._account.check(more, quota=self._quota)
        self._account.pending += more
        self._reserved += more

    def settle(self, size: int, *, replaced: int) -> None:
        """Charge the complete upload of `size` bytes, which replaces a file charged with `replaced` bytes."""
        self._account.settled += cost(size) - replaced
        self._release()

    def _release(self) -> None:
        self._account.pending -= self._reserved
        self._reserved = 0


class Quotas:
    """The accounts of this process. Replicas see each other's complete uploads, not those in progress."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    @contextlib.asynccontextmanager
    async def account(self, directory: str, measure: Callable[[], Awaitable[int]]) -> AsyncIterator[Account]:
        """Yield the account of a directory; call `measure` if its last measure is too old."""
        self._drop_idle()
        account = self._accounts.setdefault(directory, Account())
        account.uploads += 1
        try:
            async with account.lock:
                if not account.is_fresh():
                    account.settled = await measure()
                    account.measured_at = clock.monotonic()
            yield account
        finally:
            account.uploads -= 1

    def changed(self, directory: str) -> None:
        """Measure the account again: something was removed."""
        if directory in self._accounts:
            self._accounts[directory].measured_at = None

    def _drop_idle(self) -> None:
        for directory, account in list(self._accounts.items()):
            if not account.uploads and not account.is_fresh():
                del self._accounts[directory]
