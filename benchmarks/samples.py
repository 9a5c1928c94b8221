"""What is said of a set of measurements."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all are not above (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def milliseconds(values: Sequence[float]) -> dict[str, float]:
    """Of durations in seconds: median, p99, least and most, in milliseconds, and how many there are."""
    if not values:
        return {"samples": 0}
    return {
        "p50_ms": round(1000 * median(values), 2),
        "p99_ms": round(1000 * percentile(values, 99), 2),
        "min_ms": round(1000 * min(values), 2),
        "max_ms": round(1000 * max(values), 2),
        "samples": len(values),
    }
