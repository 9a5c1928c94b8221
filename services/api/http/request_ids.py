"""Give each request an id, the client's own or a new one: in the answer, in the logs, and with the tasks that it makes."""

from __future__ import annotations

import os
import re
from contextvars import ContextVar

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-Id"

_NAME = HEADER.lower().encode()
_SHOWN = HEADER.encode()
_PLAIN = re.compile(rb"[A-Za-z0-9._-]{1,64}")  #: what may stand in logs and in labels as it is

_current: ContextVar[str | None] = ContextVar("request", default=None)


def current() -> str | None:
    """The id of the request that is being answered here."""
    return _current.get()


class RequestIds:
    """Middleware around all others: also what they refuse is found by its id."""

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
    """The client's id; one that is too long or not plain is as good as none."""
    for name, value in scope["headers"]:
        if name == _NAME:
            return value.decode() if _PLAIN.fullmatch(value) else None
    return None
