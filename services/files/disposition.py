"""Name a download for browsers (RFC 6266), whatever characters are in the name: pure."""

from __future__ import annotations

from urllib.parse import quote

_PLAIN = frozenset(map(chr, range(0x20, 0x7F))) - frozenset('"\\%;')


def attachment(name: bytes) -> str:
    """
    Return the value of `Content-Disposition`: an ASCII name for old clients, with `_` for every special character, and
    the real name in the encoding of RFC 8187. Bytes that are not UTF-8 become U+FFFD.
    """
    text = name.decode("utf-8", "replace")
    plain = "".join(character if character in _PLAIN else "_" for character in text)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(text, safe='')}"
