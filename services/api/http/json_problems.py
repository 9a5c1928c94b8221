"""Explain why a body is not valid JSON, and where."""

from __future__ import annotations

import codecs

import orjson

_MARKS = (
    (codecs.BOM_UTF8, "begins with a byte order mark, the bytes EF BB BF: send UTF-8 without one"),
    (codecs.BOM_UTF32_LE, "is UTF-32: send UTF-8"),
    (codecs.BOM_UTF32_BE, "is UTF-32: send UTF-8"),
    (codecs.BOM_UTF16_LE, "is UTF-16: send UTF-8"),
    (codecs.BOM_UTF16_BE, "is UTF-16: send UTF-8"),
    (b"\x1f\x8b", "is compressed with gzip: send it as it is"),
)
_MORE = "unexpected content after document"


def sentence(body: bytes, error: orjson.JSONDecodeError) -> str:
    """
    Return a sentence for the sender of the body. Lines and columns count from 1; columns are characters, or bytes
    in a line that is not UTF-8.
    """
    if encoding := _encoding_problem(body):
        return encoding
    if error.msg.startswith(_MORE):
        return f"the body holds more than one JSON document: more begins at line {error.lineno}, column {error.colno}"
    return f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"


def _encoding_problem(body: bytes) -> str | None:
    for mark, problem in _MARKS:
        if body.startswith(mark):
            return f"the body {problem} (line 1, column 1)"
    # JSON begins with ASCII: in UTF-16 or UTF-32 without a mark, every other byte or more is NUL (RFC 4627, 3).
    if b"\0" in body[:4]:
        wide = "UTF-32" if body[:4].count(0) >= 3 else "UTF-16"
        return f"the body looks like {wide}, without a byte order mark: send UTF-8 (line 1, column 1)"
    try:
        body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        column = error.start - body.rfind(b"\n", 0, error.start)
        place = f"line {line}, column {column}"
        return f"the body is not UTF-8: invalid byte {body[error.start]:02X} at {place} (it may be Latin-1)"
    return None
