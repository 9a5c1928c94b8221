"""HTTP/1.1 with bounds in size and time on input from unauthenticated clients."""

from __future__ import annotations

import asyncio

import httptools
import structlog
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from shared.http import head_rules, offers
from shared.http.answering import Answer

log = structlog.get_logger(__name__)

HEAD_LIMIT = 64 * 1024  #: bytes of a request line and headers, approximately
HEAD_TIMEOUT = 20.0  #: seconds in which they must arrive, also the first ones of a connection
BODY_TIMEOUT = 60.0  #: seconds without a byte of a request body
REST_TIMEOUT = 5.0  #: seconds of reading on after an early response, so that the client sees it
REST_LIMIT = 8 * 1024 * 1024  #: most bytes read then
_LOOKS = 8  #: checks of a connection within the shorter timeout

_TOO_LARGE = "431 Request Header Fields Too Large"
_TOO_SLOW = "408 Request Timeout"


class BoundedProtocol(HttpToolsProtocol):
    """One connection. A client that exceeds a bound gets an error response where possible and is disconnected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._opened_at = self._heard_at = self.loop.time()
        self._head_since: float | None = self._opened_at  # start of the wait for a head; None: none is expected
        self._head_size = self._heads = 0
        self._rest: int | None = None  # bytes still read and discarded before the end; None: not ending
        self._rest_ends: asyncio.TimerHandle | None = None
        self._rest_expected = False
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._look_again.cancel()
        if self._rest_ends is not None:
            self._rest_ends.cancel()
        super().connection_lost(exc)

    # --- what is heard ----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._rest is not None:
            self._rest -= len(data)
            if self._rest < 0:
                self.transport.close()
            return
        self._heard_at = self.loop.time()
        was_under_way, heads = self._head_since is not None, self._heads
        self._unset_keepalive_if_required()
        self._parse(data)
        # If a head begins in the middle of a chunk, its share is unknown: count from the next chunk.
        if was_under_way and self._head_since is not None and self._heads == heads:
            self._head_size += len(data)
            if self._head_size > HEAD_LIMIT:
                self._cut_off(_TOO_LARGE)

    def _parse(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and self._rest is None:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                rest = rest[offer.args[0] :]
                if not self._go_on_as_before():
                    return
            except httptools.HttpParserError:
                self.send_400_response("Invalid HTTP request received.")
                return

    def _go_on_as_before(self) -> bool:
        """
        Parse the request, at whose offer the parser stops, again without the offer, so that its body is read by the usual
        rule. Return False if it makes no sense without.
        """
        method, version = self._offered
        if method == b"CONNECT":
            self.send_400_response("CONNECT is for proxies.")
            return False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in the first parser of a connection
        self.parser.feed_data(offers.declined(method, self.url, version, self.headers))
        return True

    def on_message_begin(self) -> None:
        self._head_since, self._head_size = self.loop.time(), 0
        self._heads += 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            self._offered = self.parser.get_method(), self.parser.get_http_version()
            return
        self._head_since = None
        version = self.parser.get_http_version()
        if version != "1.1":
            self.expect_100_continue = False  # an older client would not understand the interim response
        self.app = head_rules.of_head(version, self.headers) or self.config.loaded_app
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        super()._start_asgi_task(cycle, Answer(app, cycle, self))  # type: ignore[arg-type]

    # --- the end ----------------------------------------------------------------------------

    def end(self) -> None:
        """Close the connection once everything written is sent."""
        self.transport.close()

    def expect_rest(self) -> None:
        """Note that the client is still sending when the current response ends."""
        self._rest_expected = True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._rest_expected and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._listen_to_rest()

    def send_400_response(self, msg: str) -> None:
        cycle = self.cycle
        is_broken_body = cycle is not None and cycle.more_body and not cycle.response_started and not self.pipeline
        if cycle is None or cycle.response_complete or is_broken_body:
            log.info("client.not_understood", client=self._client_address(), reason=msg)
            self._say(f"400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {len(msg)}", msg)
        elif cycle.more_body:
            self.transport.close()
        else:
            # An earlier request is still being answered: complete that first.
            cycle.keep_alive = False
            self._rest = REST_LIMIT

    def _say(self, head: str, body: str = "") -> None:
        if self.cycle is not None:
            # The application of a request on this connection must not write any more.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(f"HTTP/1.1 {head}\r\nconnection: close\r\n\r\n{body}".encode())
        self._listen_to_rest()

    def _listen_to_rest(self) -> None:
        """
        End after the written response, but read on for a bounded time: bytes that arrive after a socket was closed make the
        system reset the connection, and the client may lose the response (RFC 9112, 9.6).
        """
        self._rest = REST_LIMIT
        self.flow.resume_reading()
        self.transport.write_eof()
        if self._rest_ends is None:
            self._rest_ends = self.loop.call_later(REST_TIMEOUT, self.transport.close)

    # --- time ---------------------------------------------------------------------------------

    def _watch(self) -> None:
        interval = min(HEAD_TIMEOUT, BODY_TIMEOUT) / _LOOKS
        self._look_again = self.loop.call_later(interval, self._look, self.loop.time() + 2 * interval)

    def _look(self, in_time: float) -> None:
        now = self.loop.time()
        if self.flow.read_paused or self._is_answering():
            # Input that we do not read, or that comes before its turn, is not late.
            self._heard_at = now
            self._head_since = None if self._head_since is None else now
        # If we are late ourselves, input that arrived meanwhile is not read yet.
        if now < in_time and self._rest is None and self._is_late(now):
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
        if self._head_since == self._opened_at:  # it sent nothing, so it gets no response
            self.transport.close()
            return
        log.info("client.cut_off", client=self._client_address(), status=status)
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self._say(f"{status}\r\ncontent-length: 0")
        else:
            self.transport.close()

    def _client_address(self) -> str | None:
        return self.client[0] if self.client else None
