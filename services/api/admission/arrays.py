"""Check the array of a sent task, and parse the indices of its children: pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.api.admission.checked import Checked
from services.api.wire.submission import ArrayIn, TaskIn
from shared.errors import FieldError
from shared.models.task import Array
from shared.settings import Settings
from shared.units import indices

MAX_CONCURRENT = "array.max_concurrent"  #: a requirement that can be changed while the array runs
_MAX_RANGES = 1000  #: of child indices, in one request

_RANGE = re.compile(r"([0-9]{1,15})(?:-([0-9]{1,15}))?")


def array(sent: TaskIn, settings: Settings) -> Checked[Array | None]:
    """
    Return the array, still without ids; None for a plain task. The cost does not depend on the number of children.
    """
    asked = _sent_array(sent)
    if asked is None:
        return None, []
    try:
        ranges = indices.parse(asked.values or 0)
    except ValueError as error:
        return None, [FieldError("requirements.array.values", str(error))]
    count = sum(map(len, ranges))
    if count > settings.max_array:
        rule = f"makes {count} tasks, at most {settings.max_array} are allowed"
        return None, [FieldError("requirements.array.values", rule)]
    return _array(ranges, asked.max_concurrent or None), []


def _array(ranges: Sequence[range], max_concurrent: int | None) -> Array:
    first, last = ranges[0], ranges[-1]
    return Array(
        start=first.start,
        end=last.stop - 1,
        # A list has no step. Its children see 1, which is safe in any arithmetic.
        step=first.step if len(ranges) == 1 else 1,
        count=sum(map(len, ranges)),
        first_id=0,
        parts=[(part.start, part[-1], part.step) for part in ranges] if len(ranges) > 1 else [],
        max_concurrent=max_concurrent,
    )


def _sent_array(sent: TaskIn) -> ArrayIn | None:
    """Return the array if one was sent. A copied plain task brings an array without values."""
    asked = sent.needs.array
    return asked if asked is not None and asked.values not in (None, "") else None


def parse_limit(value: str) -> int | None:
    """
    Return how many children may hold resources at a time; None, spelt 0 or left empty, for no limit. Raises ValueError.
    """
    if not re.fullmatch(r"[0-9]{0,9}", value):
        raise ValueError("must be a number of tasks; 0 or nothing: no limit")
    return int(value or 0) or None


def parse_ranges(text: str) -> list[tuple[int, int]]:
    """Return the indices of `3-7,9` as pairs of first and last. Raises ValueError with the broken rule."""
    ranges = []
    for part in text.split(",")[: _MAX_RANGES + 1]:
        match = _RANGE.fullmatch(part.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError("must be like 3-7,9")
        ranges.append((int(match[1]), int(match[2] or match[1])))
    if len(ranges) > _MAX_RANGES:
        raise ValueError(f"must be at most {_MAX_RANGES} ranges")
    return merged(ranges)


def merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the same indices in order, in as few ranges as possible."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result
