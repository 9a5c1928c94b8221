"""Durations in seconds as people write them: `7d`, `12h`, `90s`. Pure."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_DURATION = re.compile(r"^\s*([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([smhdw]?)\s*$", re.IGNORECASE | re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
LONGEST = 10 * 365 * 86400.0  #: seconds


def parse(value: object) -> float:
    """Return the seconds of a number or of a text like `90s`, `12h`, `7d`: above zero, at most ten years. Raises ValueError."""
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    match = _DURATION.match(text) if isinstance(text, str) else None
    seconds = float(match[1]) * _SECONDS[match[2].lower()] if match else 0.0
    if not 0 < seconds <= LONGEST:
        raise ValueError("must be a duration like 90s, 12h or 7d, of at most ten years")
    return seconds


def shown(seconds: float) -> str:
    """Return a duration for people: `7 days`, `1.5 hours`."""
    for unit, factor in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= factor:
            number = f"{seconds / factor:.3g}"
            return f"{number} {unit}" + ("" if number == "1" else "s")
    return f"{seconds:.3g} seconds"


def shortest(*limits: float | None) -> float | None:
    """Return the least of some limits in seconds, where None is no limit."""
    return min((limit for limit in limits if limit is not None), default=None)


#: A setting that accepts every spelling.
Duration = Annotated[float, BeforeValidator(parse)]
