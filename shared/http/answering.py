"""Answers as HTTP wants them where the server library leaves something open: to old clients, early, and broken off."""

from __future__ import annotations

from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_WITHOUT_CHUNKS = ("1.0", "0.9")


class Connection(Protocol):
    """What an answer needs of its connection."""

    def end(self) -> None:
        """Close it, once what was written is sent."""

    def expect_rest(self) -> None:
        """The client is still sending when this answer ends: read on for a moment, so that it comes to see the answer."""


class Answer:
    """An application around another one, for one request."""

    def __init__(self, app: ASGIApp, cycle: RequestResponseCycle, connection: Connection) -> None:
        self._app = app
        self._cycle = cycle
        self._connection = connection
        self._is_early = False
        self._ends_by_closing = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_by_rules(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._begin(message)
            else:
                self._go_on(message)
            await send(message)

        await self._app(scope, receive, send_by_rules)
        cycle = self._cycle
        if cycle.response_started and not cycle.response_complete and not cycle.disconnected:
            # Broken off on purpose, and told of where that was: the end before the promised length says so to the client.
            cycle.disconnected = True
            self._connection.end()

    def _begin(self, message: Message) -> None:
        cycle = self._cycle
        if cycle.more_body:
            # What is left of the body may never come, so nothing that follows could be told from it.
            self._is_early = True
            cycle.keep_alive = False
        has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
        if not has_length and cycle.scope["http_version"] in _WITHOUT_CHUNKS:
            self._ends_by_closing = True
            cycle.chunked_encoding = False

    def _go_on(self, message: Message) -> None:
        cycle = self._cycle
        if self._ends_by_closing:
            cycle.expected_content_length = len(message.get("body", b""))
        if self._is_early and not message.get("more_body") and cycle.more_body:
            cycle.keep_alive = True  # else the server would close at once, and reset what is still on its way
            self._connection.expect_rest()
