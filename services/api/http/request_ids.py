"""Give each request an id, the client's or a new one, for its answer, its log events and the tasks that it creates."""

from __future__ import annotations

import os
import re
from contextvars import ContextVar

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-Id"

_NAME = HEADER.lower().encode()
_SHOWN = HEADER.encode()
_PLAIN = re.compile(rb"[A-Za-z0-9._-]{1,64}")  #: safe in logs and in labels

_current: ContextVar[str | None] = ContextVar("request", default=None)


def current() -> str | None:
    """Return the id of the current request."""
    return _current.get()


class RequestIds:
    """The outermost middleware: requests that others refuse have ids too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _sent(scope) or os.urandom(8).hex()
        header = (_SHOWN, request_id.encode())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        before = _current.set(request_id)
        bound = structlog.contextvars.bind_contextvars(request=request_id)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            structlog.contextvars.reset_contextvars(**bound)
            _current.reset(before)


def _sent(scope: Scope) -> str | None:
    """Return the client's id; None if it sent none, or one that is too long or not plain."""
    for name, value in scope["headers"]:
        if name == _NAME:
            return value.decode() if _PLAIN.fullmatch(value) else None
    return None
