"""Read the array that a client asks for, and the parts of one to act on: pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from services.api.wire import submission
from shared.errors import FieldError
from shared.models.task import Array
from shared.settings import Settings
from shared.units import indices

MAX_CONCURRENT = "array.max_concurrent"  #: the requirement of an array that may be changed while it runs
MAX_INDEX = 10**15 - 1  #: of any child: a directory bears its name
_MOST_RANGES = 1000  #: of children, in one request

_RANGE = re.compile(r"([0-9]{1,15})(?:-([0-9]{1,15}))?")


def wanted(sent: submission.TaskIn) -> Array | None:
    """The array that is asked for, which has no ids yet; None for a plain task. `problems` has to be asked first."""
    asked = _asked(sent)
    if asked is None:
        return None
    ranges = indices.parse(asked.values or 0)
    first, last = ranges[0], ranges[-1]
    return Array(
        start=first.start,
        end=last.stop - 1,
        # A list has no step; what its children are told is the one that no arithmetic stumbles over.
        step=first.step if len(ranges) == 1 else 1,
        count=sum(map(len, ranges)),
        first_id=0,
        parts=[(part.start, part[-1], part.step) for part in ranges] if len(ranges) > 1 else [],
        max_concurrent=asked.max_concurrent or None,
    )


def problems(sent: submission.TaskIn, settings: Settings) -> Iterator[FieldError]:
    """Every rule that the array breaks. It costs the same whatever its size."""
    asked = _asked(sent)
    if asked is None:
        return
    try:
        count = sum(map(len, indices.parse(asked.values or 0)))
    except ValueError as error:
        yield FieldError("requirements.array.values", str(error))
        return
    if count > settings.max_array:
        yield FieldError("requirements.array.values", f"makes {count} tasks, at most {settings.max_array} are allowed")


def parse_limit(value: str) -> int | None:
    """How many children may hold resources at a time; None for any number, which is spelt 0 or left empty. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{0,9}", value):
        raise ValueError("must be a number of tasks; 0 or nothing: any number of them")
    return int(value or 0) or None


def parse_ranges(text: str) -> list[tuple[int, int]]:
    """The indices of `3-7,9`: from and to, each included. Raises ValueError with the rule that is broken."""
    ranges = []
    for part in text.split(",")[: _MOST_RANGES + 1]:
        found = _RANGE.fullmatch(part.strip())
        if found is None or int(found[2] or found[1]) < int(found[1]):
            raise ValueError("must be like 3-7,9")
        ranges.append((int(found[1]), int(found[2] or found[1])))
    if len(ranges) > _MOST_RANGES:
        raise ValueError(f"must be at most {_MOST_RANGES} ranges")
    return merged(ranges)


def merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same indices in as few ranges as can be, in order."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(last, result[-1][1]))
        else:
            result.append((first, last))
    return result


def _asked(sent: submission.TaskIn) -> submission.ArrayIn | None:
    """The array, if one is asked for: a copied task that is none brings one without values."""
    array = sent.requirements.array if sent.requirements else None
    return array if array is not None and array.values not in (None, "") else None
