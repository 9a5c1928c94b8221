"""The usage window."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from shared.models import usage


@given(st.floats(min_value=1e9, max_value=4e9), st.integers(min_value=1, max_value=400))
def test_a_window_has_as_many_days_as_it_should(now: float, days: int) -> None:
    start = usage.window_start(now, days=days)
    assert time.gmtime(start)[3:6] == (0, 0, 0)
    assert int(now // 86400) - int(start // 86400) == days - 1
