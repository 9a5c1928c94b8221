"""Array indices: parse the notation `3,7-9,20:40:5`, and represent them in constant space. Pure."""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import overload

MOST_PARTS = 1000  #: most parts of one list

_NUMBER = r"[0-9]{1,15}"
_PART = re.compile(rf"({_NUMBER})(?:-({_NUMBER})|:({_NUMBER})(?::({_NUMBER}))?)?")
_RULE = "must be start:end:step, start:end, how many, or a list like 3,7-9,20:40:5, in whole numbers from 0 to 999999999999999"


class Indices(Sequence[int]):
    """The indices of several ascending ranges that do not overlap."""

    def __init__(self, ranges: Sequence[range]) -> None:
        self._ranges = ranges
        self._before = [0, *accumulate(map(len, ranges))]

    def __len__(self) -> int:
        return self._before[-1]

    @overload
    def __getitem__(self, position: int) -> int: ...

    @overload
    def __getitem__(self, position: slice) -> list[int]: ...

    def __getitem__(self, position: int | slice) -> int | list[int]:
        if isinstance(position, slice):
            return [self[one] for one in range(*position.indices(len(self)))]
        if position < 0:
            position += len(self)
        if not 0 <= position < len(self):
            raise IndexError(position)
        number = bisect.bisect_right(self._before, position) - 1
        return self._ranges[number][position - self._before[number]]


@functools.lru_cache(maxsize=64)
def listed(parts: tuple[tuple[int, int, int], ...]) -> Indices:
    """Return the indices of ranges given by first, last and step."""
    return Indices([range(first, last + 1, step) for first, last, step in parts])


def parse(values: str | int) -> list[range]:
    """
    Return the ranges of `values` in ascending order: `n` alone means 1 to n, in a list the index n. An end is included if a
    step reaches it. Raises ValueError with the broken rule.
    """
    text = str(values).strip()
    if re.fullmatch(_NUMBER, text):
        if int(text) < 1:
            raise ValueError("must be at least 1")
        return [range(1, int(text) + 1)]
    # One more than allowed: longer lists are not read to the end.
    parts = text.split(",", MOST_PARTS)
    if len(parts) > MOST_PARTS:
        raise ValueError(f"must be at most {MOST_PARTS} indices and ranges")
    ranges = sorted((_range(part.strip()) for part in parts), key=lambda part: part[0])
    for before, after in pairwise(ranges):
        if after[0] <= before[-1]:
            raise ValueError(f"the ranges {shown([before])} and {shown([after])} must not overlap")
    return ranges


def shown(ranges: Sequence[range]) -> str:
    """Return ranges in the notation that `parse` reads."""
    if len(ranges) == 1 and len(ranges[0]) > 1:
        return f"{ranges[0].start}:{ranges[0][-1]}:{ranges[0].step}"
    return ",".join(map(_part, ranges))


def _part(one: range) -> str:
    if len(one) == 1:
        return str(one.start)
    return f"{one.start}-{one[-1]}" if one.step == 1 else f"{one.start}:{one[-1]}:{one.step}"


def _range(part: str) -> range:
    found = _PART.fullmatch(part)
    if found is None:
        raise ValueError(_RULE)
    first = int(found[1])
    last, step = int(found[2] or found[3] or first), int(found[4] or 1)
    if step < 1:
        raise ValueError("the step must be at least 1")
    if last < first:
        raise ValueError("the end must not be before the start")
    return range(first, last + 1, step)
