"""Decline offers to switch protocols (RFC 9110, 7.8) by rewriting a request as if it had none."""

from __future__ import annotations

from collections.abc import Sequence

_OF_AN_OFFER = frozenset({b"upgrade", b"http2-settings"})

Headers = Sequence[tuple[bytes, bytes]]


def declined(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    """Return the head of the request without its offer. Names and values come from a parser, so none contains a line break."""
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    for name, value in headers:
        remaining = _without_offer(value) if name == b"connection" else value
        if name not in _OF_AN_OFFER and remaining:
            lines.append(b"%b: %b" % (name, remaining))
        elif name not in _OF_AN_OFFER and name != b"connection":
            lines.append(b"%b:" % name)
    return b"\r\n".join([*lines, b"", b""])


def _without_offer(value: bytes) -> bytes:
    tokens = [token.strip() for token in value.split(b",")]
    return b", ".join(token for token in tokens if token.lower() not in _OF_AN_OFFER)
