"""Completion of responses where the server library leaves a gap: for old clients, early responses and broken ones."""

from __future__ import annotations

from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_WITHOUT_CHUNKS = ("1.0", "0.9")


class Connection(Protocol):
    """The connection, as a response needs it."""

    def end(self) -> None:
        """Close the connection once everything written is sent."""

    def expect_rest(self) -> None:
        """Continue reading for a moment after an early response, so that a client that is still sending sees it."""


class Answer:
    """Wraps an application for one request."""

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
            # Aborted on purpose and logged there: an end before the announced length tells the client.
            cycle.disconnected = True
            self._connection.end()

    def _begin(self, message: Message) -> None:
        cycle = self._cycle
        if cycle.more_body:
            # The rest of the body may never come, so the next request could not be found.
            self._is_early = True
            cycle.keep_alive = False
        if cycle.scope["http_version"] in _WITHOUT_CHUNKS and not _has_length(message):
            self._ends_by_closing = True
            cycle.chunked_encoding = False

    def _go_on(self, message: Message) -> None:
        cycle = self._cycle
        if self._ends_by_closing:
            cycle.expected_content_length = len(message.get("body", b""))
        if self._is_early and not message.get("more_body") and cycle.more_body:
            cycle.keep_alive = True  # otherwise the server would close at once and reset unsent data
            self._connection.expect_rest()


def _has_length(message: Message) -> bool:
    return any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
