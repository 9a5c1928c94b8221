"""Find where the last lines of a file begin."""

from __future__ import annotations

import os

_BLOCK = 64 * 1024  #: bytes of one read


def offset_of_last_lines(descriptor: int, size: int, *, lines: int, most: int) -> int:
    """
    Return the offset at which the last `lines` lines of the first `size` bytes begin; `size` for none. Reads at most
    `most` bytes, and so returns at most the last `most` bytes. A newline at the end belongs to the last line. Raises
    OSError.
    """
    if lines < 1:
        return size
    floor = max(0, size - most)
    end, missing = size, lines
    if size and os.pread(descriptor, 1, size - 1) == b"\n":
        end -= 1
    while end > floor:
        begin = max(floor, end - _BLOCK)
        block = os.pread(descriptor, end - begin, begin)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            missing -= 1
            if not missing:
                return begin + at + 1
        end = begin
    return floor
