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

_PIECE = 64 * 1024  #: bytes of one read, and so what a slow client holds
_QUICK, _IDLE = 0.05, 0.2  #: seconds between two looks at a file that grows, and at one that does not
_PATIENCE = 20  #: quick looks before they become idle ones


async def grown(found: resolve.Found, offset: int, threads: Threads) -> streaming.Pieces:
    """
    Yield what follows `offset`, without end. Ends where the file became shorter than what was sent: its writer began
    again. The descriptor stays the caller's.
    """
    quiet = 0
    while True:
        size = os.fstat(found.descriptor).st_size
        if size < offset:
            return
        if size == offset:
            quiet += 1
            await asyncio.sleep(_QUICK if quiet < _PATIENCE else _IDLE)
            continue
        quiet = 0
        while offset < size:
            piece = await reading.piece(found.descriptor, min(_PIECE, size - offset), offset, threads)
            yield piece
            offset += len(piece)
            metrics.FILE_BYTES.labels(direction="out").inc(len(piece))
