"""Send a file, a part of it, or the listing of a directory."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import IO

from starlette.responses import Response

from services.files import disposition, listing, preconditions, ranges, reading
from services.files.preconditions import Outcome
from services.files.ranges import Range
from services.files.threads import Threads
from shared import clock, errors
from shared.http import streaming
from shared.observe import metrics
from shared.storage import resolve

_PIECE = 128 * 1024  #: bytes of one read, the most that a slow client holds in memory
_LONG_LISTINGS = 2  #: made at the same time

_JSON = "application/json; charset=UTF-8"

#: Browsers save what a task wrote and do not show it; if one does, it can do no harm.
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}


class Downloads:
    """Sends files and listings."""

    def __init__(self, threads: Threads, *, list_limit: int) -> None:
        self._threads = threads
        self._list_limit = list_limit
        self._long = asyncio.Semaphore(_LONG_LISTINGS)

    async def file(self, target: resolve.Found, name: bytes, headers: Mapping[str, str]) -> Response:
        """
        Return the file, as the request's `headers` (names in lower case) ask for it. Closes the descriptor: the file
        that was checked is the one that is sent, whatever has its name now. Raises `errors.PreconditionFailed` and
        `errors.RangeNotSatisfiable`.
        """
        try:
            return self._answer(target, name, headers)
        except BaseException:
            os.close(target.descriptor)
            raise

    def _answer(self, target: resolve.Found, name: bytes, headers: Mapping[str, str]) -> Response:
        size = target.status.st_size
        known = preconditions.validators(target.status, now=clock.now())
        common = {**_SAFE, "ETag": known.etag, "Last-Modified": known.last_modified, "Accept-Ranges": "bytes"}
        outcome = preconditions.evaluate(headers, known)
        if outcome is Outcome.FAILED:
            raise errors.PreconditionFailed("the file has changed: it is not the one that the request names")
        if outcome is Outcome.NOT_MODIFIED:
            return self._streamed(target, [], 304, common)
        common["Content-Disposition"] = disposition.attachment(name)
        common["Content-Type"] = "application/octet-stream"
        parsed = ranges.parse(headers.get("range"), size) if preconditions.range_applies(headers, known) else None
        if parsed is None:
            return self._streamed(target, [Range(0, size)], 200, common)
        if len(parsed) == 1:
            return self._streamed(target, parsed, 206, {**common, "Content-Range": parsed[0].content_range(size)})
        boundary = secrets.token_hex(12)
        parts = ranges.multipart(parsed, size, boundary=boundary)
        return self._streamed(
            target, parts, 206, {**common, "Content-Type": f"multipart/byteranges; boundary={boundary}"}
        )

    def _streamed(
        self, target: resolve.Found, parts: Sequence[bytes | Range], status: int, headers: Mapping[str, str]
    ) -> Response:
        async def release() -> None:
            os.close(target.descriptor)

        length = {} if status == 304 else {"Content-Length": str(sum(len(part) for part in parts))}
        return streaming.Streamed(
            self._pieces(target.descriptor, parts), status=status, headers={**headers, **length}, release=release
        )

    async def _pieces(self, descriptor: int, parts: Sequence[bytes | Range]) -> streaming.Pieces:
        for part in parts:
            if isinstance(part, bytes):
                yield part
                continue
            offset = part.start
            while offset < part.end:
                yield (piece := await reading.piece(descriptor, min(_PIECE, part.end - offset), offset, self._threads))
                offset += len(piece)
                metrics.FILE_BYTES.labels(direction="out").inc(len(piece))

    async def directory(self, target: resolve.Found) -> Response:
        """Return the listing of a directory. Closes the descriptor. Raises `errors.Conflict` if it is too long."""
        try:
            with resolve.translated():
                file, size = await self._listed(target.descriptor)
        finally:
            os.close(target.descriptor)
        return self._list(file, size)

    async def _listed(self, descriptor: int) -> tuple[IO[bytes], int]:
        try:
            short = min(listing.SHORT, self._list_limit)
            return await self._threads.lookup(listing.write, descriptor, limit=short)
        except listing.TooLong:
            pass
        try:
            # Long listings take memory and time: few at once, so that short ones find a thread.
            async with self._long:
                return await self._threads.lookup(listing.write, descriptor, limit=self._list_limit)
        except listing.TooLong:
            raise listing.too_long(self._list_limit) from None

    def _list(self, file: IO[bytes], size: int) -> Response:
        async def pieces() -> streaming.Pieces:
            while piece := await self._threads.transfer(file.read, _PIECE):
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
    def empty() -> Response:
        """Return the listing of a personal storage that was never used."""
        return Response(b"[]", headers={"Content-Type": _JSON})
