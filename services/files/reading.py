"""Read one piece of a file: directly if it is in memory, in a thread if the disk must be read."""

from __future__ import annotations

import asyncio
import os

from services.files.threads import Threads
from shared import errors


async def piece(descriptor: int, size: int, offset: int, threads: Threads) -> bytes:
    """Return up to `size` bytes, at least one. Raises `errors.TransferBroken` if the file ends before `offset`."""
    if read := _read_cached(descriptor, size, offset):
        await asyncio.sleep(0)  # a fast client must not starve the others
        return read
    # One thread hop per read: no thread waits for the client.
    return await threads.transfer(_read, descriptor, size, offset)


def _read_cached(descriptor: int, size: int, offset: int) -> bytes:
    """Return the part that is in memory, see preadv2(2); empty if the disk would have to be read."""
    buffer = bytearray(size)
    try:
        return bytes(memoryview(buffer)[: os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT)])
    except OSError:
        return b""  # not in memory, or not supported by the file system


def _read(descriptor: int, size: int, offset: int) -> bytes:
    try:
        read = os.pread(descriptor, size, offset)
    except OSError as error:
        raise errors.TransferBroken(f"the file could not be read: {error.strerror}") from error
    if not read:
        raise errors.TransferBroken("the file became shorter during the transfer")
    return read
