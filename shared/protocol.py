"""HTTP/1.1 as our server speaks it: what a client sends before it is anybody is bounded, in size and in time."""

from __future__ import annotations

import asyncio

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = structlog.get_logger(__name__)

HEAD_LIMIT = 64 * 1024  #: bytes of a request line and headers, give or take what comes in one piece
HEAD_TIMEOUT = 20.0  #: seconds in which they have to come, also the first ones of a connection
BODY_TIMEOUT = 60.0  #: seconds without a byte of a body that is waited for
_LOOKS = 8  #: at a connection, within the shorter of the two

_TOO_LARGE = "431 Request Header Fields Too Large"
_TOO_SLOW = "408 Request Timeout"


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Whoever goes beyond a bound is told so where that is possible, and is cut off."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._opened_at = self._heard_at = self.loop.time()
        self._head_since: float | None = self._opened_at  # since when a head is waited for; None: none is
        self._head_size = 0
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._look_again.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        was_under_way = self._head_since is not None
        super().data_received(data)
        # Where a head begins in the middle of a piece, how much of that is its own is not known: the next piece counts.
        if was_under_way and self._head_since is not None:
            self._head_size += len(data)
            if self._head_size > HEAD_LIMIT:
                self._cut_off(_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._head_since, self._head_size = self.loop.time(), 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_since = None
        super().on_headers_complete()

    def _watch(self) -> None:
        interval = min(HEAD_TIMEOUT, BODY_TIMEOUT) / _LOOKS
        self._look_again = self.loop.call_later(interval, self._look, self.loop.time() + 2 * interval)

    def _look(self, in_time: float) -> None:
        now = self.loop.time()
        if self.flow.read_paused or self._is_answering():
            # What we do not read, or comes before its turn, is not late.
            self._heard_at = now
            self._head_since = None if self._head_since is None else now
        # Where we are late ourselves, what came meanwhile is not read yet.
        if now < in_time and self._is_late(now):
            self._cut_off(_TOO_SLOW)
        else:
            self._watch()

    def _is_late(self, now: float) -> bool:
        if self._head_since is not None:
            return now - self._head_since > HEAD_TIMEOUT
        return self._awaits_body() and now - self._heard_at > BODY_TIMEOUT

    def _is_answering(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    def _awaits_body(self) -> bool:
        cycle = self.cycle
        return cycle is not None and cycle.more_body and not cycle.response_started

    def _cut_off(self, status: str) -> None:
        if self.transport.is_closing():
            return
        if self._head_since != self._opened_at:  # else it sent nothing, and asked for no answer
            log.info("client.cut_off", client=self.client[0] if self.client else None, status=status)
            if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
                self.transport.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        self.transport.close()
