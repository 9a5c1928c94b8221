"""Bounds of a billed month."""

from __future__ import annotations

import pytest

from services.api.answers import usage_and_billing
from shared import clock


@pytest.mark.parametrize(
    ("year", "month", "start", "end"),
    [
        (2026, 11, "2026_11_01", "2026_12_01"),
        (2026, 12, "2026_12_01", "2027_01_01"),
        (2024, 2, "2024_02_01", "2024_03_01"),
        (1970, 1, "1970_01_01", "1970_02_01"),
        (9998, 12, "9998_12_01", "9999_01_01"),
    ],
)
def test_a_month_begins_and_ends_at_midnight_utc(year: int, month: int, start: str, end: str) -> None:
    first, last = usage_and_billing.bounds(year, month)
    assert (clock.day(first), clock.day(last)) == (start, end)
    assert first % 86400 == last % 86400 == 0
