"""Read one piece of a file: at once where it is in memory, in a thread where the disk has to be waited for."""

from __future__ import annotations

import asyncio
import os

from services.files.threads import Threads
from shared import errors


async def piece(descriptor: int, size: int, offset: int, threads: Threads) -> bytes:
    """Return up to `size` bytes, at least one. Raises `errors.TransferBroken` where the file ends before `offset`."""
    if read := _read_cached(descriptor, size, offset):
        await asyncio.sleep(0)  # a client that takes everything at once must leave the others their turn
        return read
    # One read, one hop through a thread: none waits for the client.
    return await threads.transfer(_read, descriptor, size, offset)


def _read_cached(descriptor: int, size: int, offset: int) -> bytes:
    """Return what is in memory, see preadv2(2); nothing where the disk would have to be waited for."""
    buffer = bytearray(size)
    try:
        return bytes(memoryview(buffer)[: os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT)])
    except OSError:
        return b""  # not in memory, or a file system that cannot tell


def _read(descriptor: int, size: int, offset: int) -> bytes:
    try:
        read = os.pread(descriptor, size, offset)
    except OSError as error:
        raise errors.TransferBroken(f"the file could not be read: {error.strerror}") from error
    if not read:
        raise errors.TransferBroken("the file became shorter while it was sent")
    return read
