"""Receive a file: first into the staging directory, then under its name in one step."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.files.places import Places, entered
from services.files.quotas import Account, Claim, Quotas, cost, measure
from services.files.threads import Threads
from shared import errors
from shared.auth.grants import Grant
from shared.observe import metrics
from shared.storage import resolve

PREFIX = "upload-"
_PIECE = 256 * 1024  #: bytes of one write

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class _Received:
    """An upload in progress. `staging` and `file` are open until `_close`."""

    staging: int
    name: str
    file: int
    size: int = 0


class Uploads:
    """Receives files into granted directories."""

    def __init__(self, places: Places, threads: Threads, quotas: Quotas) -> None:
        self._places = places
        self._threads = threads
        self._quotas = quotas

    async def receive(self, grant: Grant, path: bytes, pieces: AsyncIterator[bytes], *, declared: int | None) -> int:
        """
        Store `pieces` as `path`, replacing a file of that name once all of it is on disk, and return its size in bytes.
        After an error, the existing file is unchanged. `declared` is the size that the client announced.

        Raises `errors.NotFound` for an invalid path, `errors.Conflict`, `errors.QuotaExceeded`, `errors.StorageFull`,
        `errors.StorageError`, and what `pieces` raises.
        """
        names = resolve.components(path)
        if not names or path.endswith(b"/"):
            raise errors.InvalidInput.of("path", "must name a file")
        async with self._account(grant) as account:
            with Claim(account, quota=grant.quota) as claim:
                claim.grow(declared or 0)
                received = await self._threads.lookup(self._begin)
                try:
                    await self._fill(received, pieces, claim)
                    async with account.lock:
                        replaced = await self._threads.lookup(self._settle, received, grant, names)
                        claim.settle(received.size, replaced=replaced)
                finally:
                    await self._threads.lookup(_close, received)
        return received.size

    async def check_room(self, grant: Grant, size: int) -> None:
        """Raise `errors.QuotaExceeded` if a file of `size` bytes does not fit now."""
        async with self._account(grant) as account:
            account.check(cost(size), quota=grant.quota)

    def _account(self, grant: Grant) -> contextlib.AbstractAsyncContextManager[Account]:
        return self._quotas.account(grant.directory, lambda: self._threads.lookup(self._measured, grant))

    async def _fill(self, received: _Received, pieces: AsyncIterator[bytes], claim: Claim) -> None:
        buffer = bytearray()
        async for piece in pieces:
            received.size += len(piece)
            # Counted before it is written: a file that does not fit never reaches the disk.
            claim.grow(received.size)
            buffer += piece
            if len(buffer) >= _PIECE:
                await self._write(received, buffer)
                buffer = bytearray()
        await self._write(received, buffer)
        # Sync before the rename: after a power failure, the name must not lead to a file without its content.
        await self._threads.transfer(os.fsync, received.file)

    async def _write(self, received: _Received, data: bytearray) -> None:
        with resolve.translated():
            await self._threads.transfer(_write_all, received.file, data)
        metrics.FILE_BYTES.labels(direction="in").inc(len(data))

    def _measured(self, grant: Grant) -> int:
        try:
            with self._places.opened(grant) as place:
                return measure(place)
        except errors.NotFound:
            return 0

    def _begin(self) -> _Received:
        with self._places.staging() as staging, resolve.translated():
            name = PREFIX + secrets.token_hex(16)
            file = os.open(name, _CREATE, 0o600, dir_fd=staging)
            return _Received(os.dup(staging), name, file)

    def _settle(self, received: _Received, grant: Grant, names: list[bytes]) -> int:
        """Give the file its name. Return the bytes charged for the file that it replaces."""
        with self._places.made(grant) as place, resolve.translated(), entered(place, names[:-1], grant.owner) as parent:
            if grant.owner is not None and os.geteuid() == 0:
                os.fchown(received.file, *grant.owner)
            replaced = _cost_of(parent, names[-1])
            try:
                os.rename(received.name, names[-1], src_dir_fd=received.staging, dst_dir_fd=parent)
            except IsADirectoryError:
                raise errors.Conflict("a directory with this name exists") from None
            os.fsync(parent)
            return replaced


def _cost_of(parent: int, name: bytes) -> int:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return 0
    return 0 if stat.S_ISDIR(status.st_mode) else cost(status.st_size)


def _write_all(file: int, data: bytearray) -> None:
    with memoryview(data) as view:
        written = 0
        while written < len(view):
            written += os.write(file, view[written:])


def _close(received: _Received) -> None:
    """Close the descriptors, and remove the file if it did not get its name."""
    os.close(received.file)
    with contextlib.suppress(OSError):
        os.unlink(received.name, dir_fd=received.staging)
    os.close(received.staging)
