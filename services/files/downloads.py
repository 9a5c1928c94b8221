"""Answer with a file or a part of it, or with the list of a directory."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import IO

from starlette.responses import Response

from services.files import disposition, listing, preconditions, ranges
from services.files.preconditions import Outcome
from services.files.ranges import Range
from services.files.threads import Threads
from shared import clock, errors
from shared.http import streaming
from shared.observe import metrics
from shared.storage import resolve

_PIECE = 128 * 1024  #: bytes for one read, and so what a slow client holds
_LONG_LISTINGS = 2  #: at a time

_JSON = "application/json; charset=UTF-8"

#: Whatever a task wrote is saved, not shown, and may do nothing if it is shown after all.
_HARMLESS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


class Downloads:
    """Sends what was found."""

    def __init__(self, threads: Threads, *, list_limit: int) -> None:
        self._threads = threads
        self._list_limit = list_limit
        self._long = asyncio.Semaphore(_LONG_LISTINGS)

    async def file(self, found: resolve.Found, name: bytes, headers: Mapping[str, str]) -> Response:
        """
        The file, as the request's `headers` (names in lower case) ask for it. Takes over the descriptor: what was checked is
        what is sent, whatever stands under its name by now. Raises `errors.PreconditionFailed` and `errors.RangeNotSatisfiable`.
        """
        try:
            return self._answer(found, name, headers)
        except BaseException:
            os.close(found.descriptor)
            raise

    def _answer(self, found: resolve.Found, name: bytes, headers: Mapping[str, str]) -> Response:
        size = found.status.st_size
        known = preconditions.validators(found.status, now=clock.now())
        common = {**_HARMLESS, "ETag": known.etag, "Last-Modified": known.last_modified, "Accept-Ranges": "bytes"}
        outcome = preconditions.evaluate(headers, known)
        if outcome is Outcome.FAILED:
            raise errors.PreconditionFailed("the file is not the one that the request was made for")
        if outcome is Outcome.NOT_MODIFIED:
            return self._streamed(found, [], 304, common)
        common["Content-Disposition"] = disposition.attachment(name)
        common["Content-Type"] = "application/octet-stream"
        wanted = ranges.parse(headers.get("range"), size) if preconditions.is_range_wanted(headers, known) else None
        if wanted is None:
            return self._streamed(found, [Range(0, size)], 200, common)
        if len(wanted) == 1:
            return self._streamed(found, wanted, 206, {**common, "Content-Range": wanted[0].content_range(size)})
        boundary = secrets.token_hex(12)
        parts = ranges.multipart(wanted, size, boundary=boundary)
        return self._streamed(
            found, parts, 206, {**common, "Content-Type": f"multipart/byteranges; boundary={boundary}"}
        )

    def _streamed(
        self, found: resolve.Found, parts: Sequence[bytes | Range], status: int, headers: Mapping[str, str]
    ) -> Response:
        async def release() -> None:
            os.close(found.descriptor)

        length = {} if status == 304 else {"Content-Length": str(sum(len(part) for part in parts))}
        return streaming.Streamed(
            self._pieces(found.descriptor, parts), status=status, headers={**headers, **length}, release=release
        )

    async def _pieces(self, descriptor: int, parts: Sequence[bytes | Range]) -> streaming.Pieces:
        for part in parts:
            if isinstance(part, bytes):
                yield part
                continue
            offset = part.start
            while offset < part.end:
                yield (piece := await self._piece(descriptor, min(_PIECE, part.end - offset), offset))
                offset += len(piece)
                metrics.FILE_BYTES.labels(direction="out").inc(len(piece))

    async def _piece(self, descriptor: int, size: int, offset: int) -> bytes:
        if piece := _read_at_once(descriptor, size, offset):
            await asyncio.sleep(0)  # whoever takes it as fast as it comes lets the others have their turn
            return piece
        # One read, one hop through a thread: none waits for the client.
        return await self._threads.move(_read, descriptor, size, offset)

    async def directory(self, found: resolve.Found) -> Response:
        """The list of a directory. Takes over the descriptor. Raises `errors.Conflict` where it is too long."""
        try:
            with resolve.translated():
                file, size = await self._listed(found.descriptor)
        finally:
            os.close(found.descriptor)
        return self._list(file, size)

    async def _listed(self, descriptor: int) -> tuple[IO[bytes], int]:
        try:
            short = min(listing.SHORT, self._list_limit)
            return await self._threads.look(listing.write, descriptor, most=short)
        except listing.TooLong:
            pass
        try:
            # They cost memory and time while they are made: few at once, so that the short ones find a thread.
            async with self._long:
                return await self._threads.look(listing.write, descriptor, most=self._list_limit)
        except listing.TooLong:
            raise listing.too_long(self._list_limit) from None

    def _list(self, file: IO[bytes], size: int) -> Response:
        async def pieces() -> streaming.Pieces:
            while piece := await self._threads.move(file.read, _PIECE):
                yield piece

        async def release() -> None:
            file.close()

        headers = {
            "Content-Type": _JSON,
            "Content-Length": str(size),
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-cache",
        }
        return streaming.Streamed(pieces(), status=200, headers=headers, release=release)

    @staticmethod
    def nothing() -> Response:
        """The list of a personal storage in which there never was anything."""
        return Response(b"[]", headers={"Content-Type": _JSON})


def _read_at_once(descriptor: int, size: int, offset: int) -> bytes:
    """What of it is in memory, see preadv2(2); nothing where the disk would have to be waited for."""
    buffer = bytearray(size)
    try:
        return bytes(memoryview(buffer)[: os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT)])
    except OSError:
        return b""  # it is not in memory, or not a file system that can tell


def _read(descriptor: int, size: int, offset: int) -> bytes:
    try:
        piece = os.pread(descriptor, size, offset)
    except OSError as error:
        raise errors.TransferBroken(f"the file could not be read: {error.strerror}") from error
    if not piece:
        raise errors.TransferBroken("the file became shorter while it was sent")
    return piece
