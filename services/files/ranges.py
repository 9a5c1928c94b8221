"""Byte ranges of a download (RFC 9110, 14): which bytes of a file a `Range` header asks for. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared import errors

#: More ranges in one header are not looked at, the whole file is sent: RFC 9110, 14.2 lets a server ignore the field,
#: and 17.15 tells it to beware of many small ones.
MOST = 10

_RANGE = re.compile(r"([0-9]{0,19})-([0-9]{0,19})", re.ASCII)
_HEADER = 512  #: characters


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes from `start` to before `end`."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.end - 1}/{size}"


def parse(header: str | None, size: int) -> list[Range] | None:
    """
    The ranges that `header` asks for of a file of `size` bytes, in its order; None where the whole file is to be sent:
    no header, one that cannot be read, too many ranges, or more bytes than there are. Raises `errors.RangeNotSatisfiable`.
    """
    if not header or len(header) > _HEADER:
        return None
    unit, equals, listed = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals or listed.count(",") >= MOST:
        return None
    found: list[Range] = []
    for item in listed.split(","):
        match = _RANGE.fullmatch(item.strip())
        if match is None or not (match[1] or match[2]):
            return None
        if match[1] and match[2] and int(match[1]) > int(match[2]):
            return None
        wanted = _range(match[1], match[2], size)
        if wanted is not None:
            found.append(wanted)
    if not found:
        raise errors.RangeNotSatisfiable(size)
    return None if sum(len(one) for one in found) > size else found


def _range(first: str, last: str, size: int) -> Range | None:
    """One range; None where the file has no byte of it."""
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    return Range(start, end) if start < end else None


def multipart(ranges: Sequence[Range], size: int, *, boundary: str) -> list[bytes | Range]:
    """The body of a `multipart/byteranges` answer (RFC 9110, 14.6): what is sent as it is, and what comes from the file."""
    parts: list[bytes | Range] = []
    for one in ranges:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Range: {one.content_range(size)}\r\n\r\n"
        )
        parts += [head.encode(), one]
    return [*parts, f"\r\n--{boundary}--\r\n".encode()]
