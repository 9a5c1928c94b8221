"""How much of a personal storage is taken, kept while uploads are under way so that many at once cannot pass its quota."""

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
_FRESH = 5.0  #: seconds for which a measure is believed; every upload in them would walk through all files
_DEEPEST = 2048  #: levels that are measured

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def cost(size: int) -> int:
    """What a file of `size` bytes takes: whole blocks and at least one, so that empty files are not free."""
    return max(-(-size // _BLOCK), 1) * _BLOCK


def measure(root: int) -> int:
    """Bytes that everything below a directory takes, links not followed. Raises OSError."""
    total = 0
    todo: list[list[bytes]] = [[]]
    while todo:
        names = todo.pop()
        try:
            directory = resolve.open_beneath(root, names, _DIRECTORY)
        except OSError:
            if not names:
                raise
            continue  # gone, or swapped for something else, since it was seen
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        total += cost(status.st_size)
                        if stat.S_ISDIR(status.st_mode) and len(names) < _DEEPEST:
                            todo.append([*names, os.fsencode(entry.name)])
        finally:
            os.close(directory)
    return total


class Account:
    """One personal storage with uploads under way."""

    def __init__(self) -> None:
        self.settled = 0  #: bytes in the storage
        self.pending = 0  #: bytes of uploads under way
        self.uploads = 0
        self.measured_at: float | None = None
        self.lock = asyncio.Lock()  #: between a measure and a file that comes in: either the one or the other sees it

    def is_fresh(self) -> bool:
        return self.measured_at is not None and clock.monotonic() - self.measured_at < _FRESH

    def check(self, more: int, *, quota: int | None) -> None:
        """Raise `errors.QuotaExceeded` where `more` bytes do not fit."""
        if quota is not None and self.settled + self.pending + more > quota:
            left = max(quota - self.settled - self.pending, 0)
            raise errors.QuotaExceeded(
                f"the file does not fit: of {sizes.shown(quota)} of personal storage {sizes.shown(left)} are left"
            )


class Claim:
    """What one upload has taken of an account so far, until it is settled or has come to nothing."""

    def __init__(self, account: Account, *, quota: int | None) -> None:
        self._account = account
        self._quota = quota
        self._taken = 0

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def grow(self, size: int) -> None:
        """The upload has, or was announced to have, `size` bytes. Raises `errors.QuotaExceeded`."""
        more = max(cost(size) - self._taken, 0)
        self._account.check(more, quota=self._quota)
        self._account.pending += more
        self._taken += more

    def settle(self, size: int, *, replaced: int) -> None:
        """The upload has arrived with `size` bytes, in the place of a file that took `replaced` bytes."""
        self._account.settled += cost(size) - replaced
        self._release()

    def _release(self) -> None:
        self._account.pending -= self._taken
        self._taken = 0


class Quotas:
    """The accounts of this process. Replicas do not know of each other's uploads under way, only of what has arrived."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}

    @contextlib.asynccontextmanager
    async def account(self, directory: str, measured: Callable[[], Awaitable[int]]) -> AsyncIterator[Account]:
        """The account of a directory, which is measured by `measured` if the last time is too long ago."""
        self._drop_idle()
        account = self._accounts.setdefault(directory, Account())
        account.uploads += 1
        try:
            async with account.lock:
                if not account.is_fresh():
                    account.settled = await measured()
                    account.measured_at = clock.monotonic()
            yield account
        finally:
            account.uploads -= 1

    def changed(self, directory: str) -> None:
        """Something was removed: what is known is too much."""
        if directory in self._accounts:
            self._accounts[directory].measured_at = None

    def _drop_idle(self) -> None:
        for directory, account in list(self._accounts.items()):
            if not account.uploads and not account.is_fresh():
                del self._accounts[directory]
