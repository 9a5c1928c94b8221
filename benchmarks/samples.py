"""Summary statistics of measurements."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def milliseconds(values: Sequence[float]) -> dict[str, float]:
    """Return median, p99, minimum and maximum of durations in seconds, as text in milliseconds, with their number."""
    if not values:
        return {"samples": 0}
    return {
        "p50_ms": round(1000 * median(values), 2),
        "p99_ms": round(1000 * percentile(values, 99), 2),
        "min_ms": round(1000 * min(values), 2),
        "max_ms": round(1000 * max(values), 2),
        "samples": len(values),
    }
