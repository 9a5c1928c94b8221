"""A response that is sent piece by piece, as fast as the client reads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared import errors

log = structlog.get_logger(__name__)

Pieces = AsyncGenerator[bytes, None]


class Streamed(Response):
    """
    Sends `pieces` one after the other, each only when the server has room for it, so that a slow client costs one piece of
    memory. `release` is always awaited at the end.

    If the pieces end with `errors.TransferBroken`, or too early, the connection is closed before the announced length: the
    client notices the gap, which no status could report any more.
    """

    def __init__(
        self,
        pieces: Pieces,
        *,
        status: int,
        headers: Mapping[str, str],
        release: Callable[[], Awaitable[None]],
    ) -> None:
        self.status_code = status
        self.background = None
        self._pieces = pieces
        self._release = release
        # Not `init_headers`: the caller sets the length.
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(scope, send), name="send-pieces")
        gone = asyncio.create_task(_disconnect(receive), name="watch-client")
        try:
            # Check here: the server does not tell a sender that its client is gone.
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.wait({sending, gone})
            await self._release()
        if not sending.cancelled() and (error := sending.exception()):
            if not isinstance(error, errors.TransferBroken):
                raise error
            log.warning("transfer.broken", reason=str(error))

    async def _send(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            async with contextlib.aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
