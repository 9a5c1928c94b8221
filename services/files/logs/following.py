"""
Send a file from an offset to its end, and further bytes as they are appended.

A follower holds a descriptor and no thread: the file's size is compared a few times a second, which also works where
the writer is another host of a network file system and the kernel reports nothing (inotify(7) knows local writes only).
"""

from __future__ import annotations

import asyncio
import os

from services.files import reading
from services.files.threads import Threads
from shared.http import streaming
from shared.observe import metrics
from shared.storage import resolve

_PIECE = 64 * 1024  #: bytes of one read, the most that a slow client holds in memory
_QUICK, _IDLE = 0.05, 0.2  #: seconds between two checks of a file that grows, and of one that does not
_PATIENCE = 20  #: quick checks before idle ones


async def grown(target: resolve.Found, offset: int, threads: Threads) -> streaming.Pieces:
    """
    Yield the bytes after `offset`, without end. Stops if the file becomes shorter than what was sent: its writer
    started again. The caller closes the descriptor.
    """
    quiet = 0
    while True:
        size = os.fstat(target.descriptor).st_size
        if size < offset:
            return
        if size == offset:
            quiet += 1
            await asyncio.sleep(_QUICK if quiet < _PATIENCE else _IDLE)
            continue
        quiet = 0
        while offset < size:
            piece = await reading.piece(target.descriptor, min(_PIECE, size - offset), offset, threads)
            yield piece
            offset += len(piece)
            metrics.FILE_BYTES.labels(direction="out").inc(len(piece))
