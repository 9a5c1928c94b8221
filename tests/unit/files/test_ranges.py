"""Byte ranges of a download."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.files import ranges
from services.files.ranges import Range
from shared import errors


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None),
        ("", None),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=2-", [(2, 10)]),
        ("bytes=-3", [(7, 10)]),
        ("bytes=-30", [(0, 10)]),
        ("bytes=3-300", [(3, 10)]),
        ("bytes=0-0,9-9", [(0, 1), (9, 10)]),
        ("bytes=8-8, 0-1", [(8, 9), (0, 2)]),
        ("bytes=0-0,50-60", [(0, 1)]),
        ("bytes=0-9,0-9", None),  # more bytes than the file has
        ("bytes=" + ",".join(["0-0"] * 10), [(0, 1)] * 10),
        ("bytes=" + ",".join(["0-0"] * 11), None),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=1", None),
        ("bytes=0-1-2", None),
        ("bytes=0x1-2", None),
        ("bytes=٣-4", None),
        ("bytes", None),
        ("items=0-1", None),
        ("bytes=0-" + "9" * 19, [(0, 10)]),
        ("bytes=0-" + "9" * 600, None),
    ],
)
def test_ranges_of_ten_bytes(header: str | None, found: list[tuple[int, int]] | None) -> None:
    parsed = ranges.parse(header, 10)
    assert (None if parsed is None else [(one.start, one.end) for one in parsed]) == found


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=20-,30-", 10)]
)
def test_ranges_outside_of_the_file_are_refused(header: str, size: int) -> None:
    with pytest.raises(errors.RangeNotSatisfiable) as caught:
        ranges.parse(header, size)
    assert caught.value.size == size


@given(st.text(alphabet="bytes=0123456789-, \t", max_size=40), st.integers(0, 50))
def test_whatever_the_header_ranges_are_within_the_file(header: str, size: int) -> None:
    try:
        parsed = ranges.parse(f"bytes={header}", size)
    except errors.RangeNotSatisfiable:
        return
    for one in parsed or []:
        assert 0 <= one.start < one.end <= size


def test_parts_name_their_ranges() -> None:
    parts = ranges.multipart([Range(0, 2), Range(5, 6)], 10, boundary="B")
    assert parts == [
        b"\r\n--B\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 0-1/10\r\n\r\n",
        Range(0, 2),
        b"\r\n--B\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 5-5/10\r\n\r\n",
        Range(5, 6),
        b"\r\n--B--\r\n",
    ]
