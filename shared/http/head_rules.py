"""Reject a request whose head breaks a rule of HTTP, in the order of the connection's requests."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from starlette.responses import Response
from starlette.types import ASGIApp

from shared.http import problems

_HOST = "a request of HTTP/1.1 needs one Host header (RFC 9112, 3.2)"
_HOSTS = "a request may have one Host header, not several (RFC 9112, 3.2)"


def of_head(version: str, headers: Sequence[tuple[bytes, bytes]]) -> ASGIApp | None:
    """Return the application that rejects a request with these headers (names in lower case); None if they are fine."""
    hosts = [name for name, _ in headers].count(b"host")
    if hosts == 1 or (hosts == 0 and version != "1.1"):
        return None
    return _bad_request(_HOST if hosts == 0 else _HOSTS)


def _bad_request(detail: str) -> ASGIApp:
    body = orjson.dumps(problems.document(400, "bad_request", detail))
    return Response(body, 400, headers={"Connection": "close"}, media_type=problems.MEDIA_TYPE)
