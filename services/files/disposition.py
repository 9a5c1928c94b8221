"""The name under which a browser saves a download (RFC 6266), whatever characters a task put into it. Pure."""

from __future__ import annotations

from urllib.parse import quote

_PLAIN = frozenset(map(chr, range(0x20, 0x7F))) - frozenset('"\\%;')


def attachment(name: bytes) -> str:
    """
    The value of `Content-Disposition`: a plain ASCII name that old clients read, with `_` for everything that could
    be taken for something else, and the real one as RFC 8187 (once 5987) spells it. Bytes that are not UTF-8 become U+FFFD.
    """
    text = name.decode("utf-8", "replace")
    plain = "".join(character if character in _PLAIN else "_" for character in text)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(text, safe='')}"
