"""Parse `Range` headers (RFC 9110, 14) and lay out their answers: pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from shared import errors

#: A header with more ranges is ignored and the whole file is sent: RFC 9110, 14.2 allows that, and 17.15 warns of many
#: small ranges.
MAX_RANGES = 10

_RANGE = re.compile(r"([0-9]{0,19})-([0-9]{0,19})", re.ASCII)
_MAX_HEADER = 512  #: characters


@dataclass(frozen=True, slots=True)
class Range:
    """The bytes from `start` up to `end`, which is excluded."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.end - 1}/{size}"


def parse(header: str | None, size: int) -> list[Range] | None:
    """
    Return the ranges that `header` requests of a file of `size` bytes, in its order; None if the whole file is to be
    sent: there is no header, it is invalid, or it has too many ranges or more bytes than the file. Raises
    `errors.RangeNotSatisfiable`.
    """
    if not header or len(header) > _MAX_HEADER:
        return None
    unit, equals, listed = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals or listed.count(",") >= MAX_RANGES:
        return None
    parsed: list[Range] = []
    for item in listed.split(","):
        match = _RANGE.fullmatch(item.strip())
        if match is None or not (match[1] or match[2]):
            return None
        if match[1] and match[2] and int(match[1]) > int(match[2]):
            return None
        one = _range(match[1], match[2], size)
        if one is not None:
            parsed.append(one)
    if not parsed:
        raise errors.RangeNotSatisfiable(size)
    return None if sum(map(len, parsed)) > size else parsed


def _range(first: str, last: str, size: int) -> Range | None:
    """Return one range; None if it lies outside of the file."""
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    return Range(start, end) if start < end else None


def multipart(ranges: Sequence[Range], size: int, *, boundary: str) -> list[bytes | Range]:
    """Return the body of a `multipart/byteranges` answer (RFC 9110, 14.6): literal bytes and ranges of the file."""
    parts: list[bytes | Range] = []
    for one in ranges:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Range: {one.content_range(size)}\r\n\r\n"
        )
        parts += [head.encode(), one]
    return [*parts, f"\r\n--{boundary}--\r\n".encode()]
