"""Read the bodies of requests, bounded in size and time, before anything parses them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.http.errors import answer
from shared import errors

BODY_TIMEOUT = 30.0  #: seconds within which a body must arrive

_UPLOAD = re.compile(r"/api/1\.0/user/[^/]+/files/")


class BodyLimit:
    """Middleware that reads a request's body and refuses one that is larger than `limit` bytes or too slow."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS") or _is_upload(scope):
            await self._app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit() or int(declared) > self._limit:
            await answer(self._too_large())(scope, receive, send)
        elif awaits_continue(scope):
            # Read later: reading makes the client send a body that the headers alone may rule out.
            await self._app(scope, _later(lambda: self._read(receive), receive), send)
        else:
            try:
                body = await self._read(receive)
            except errors.RequestError as error:
                await answer(error)(scope, receive, send)
                return
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes:
        """Return the whole body. Raises `errors.BodyTooLarge` and `errors.BodyIncomplete`."""
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await _read(receive, self._limit)
        except TimeoutError:
            raise errors.BodyIncomplete("the body did not arrive in time") from None
        if body is None:
            raise self._too_large()
        return body

    def _too_large(self) -> errors.BodyTooLarge:
        return errors.BodyTooLarge(f"a body may hold at most {self._limit} bytes")


def awaits_continue(scope: Scope) -> bool:
    """Return whether the client waits to be asked for its body (`Expect: 100-continue`; RFC 9110, 10.1.1)."""
    # A loop, since each request comes here twice: a generator costs twice as much.
    for name, value in scope["headers"]:  # noqa: SIM110
        if name == b"expect" and value.lower() == b"100-continue":
            return True
    return False


def _is_upload(scope: Scope) -> bool:
    """Return whether the body is a file, which its route reads in pieces, within the user's quota."""
    return scope["method"] == "PUT" and _UPLOAD.match(scope["path"]) is not None


async def _read(receive: Receive, limit: int) -> bytes | None:
    """Return the whole body; None if it is larger than `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":  # the client went away
            return b"".join(chunks)
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


def _later(read: Callable[[], Awaitable[bytes]], receive: Receive) -> Receive:
    replay: Receive | None = None

    async def later() -> Message:
        nonlocal replay
        if replay is None:
            replay = _replay(await read(), receive)
        return await replay()

    return later


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
