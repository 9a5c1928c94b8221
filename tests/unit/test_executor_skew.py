"""The difference between an engine's clock and ours: heard now and then, told of when it grows and when it is gone."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from shared import clock
from shared.executors.docker import skew


@pytest.mark.parametrize(
    ("theirs", "ahead"),
    [(10.0, 0.0), (11.0, 0.0), (10.4, 0.0), (12.5, 1.5), (8.0, -2.0)],
)
def test_only_what_the_question_s_way_does_not_explain_is_a_difference(theirs: float, ahead: float) -> None:
    assert clock.ahead(theirs, asked_at=10.0, answered_at=11.0) == ahead
    found = skew.Skew("n1")
    found.hear(theirs, asked_at=10.0, answered_at=11.0)
    assert found.ahead == ahead


def test_an_operator_is_told_once_that_a_clock_differs_and_once_that_it_agrees() -> None:
    found = skew.Skew("n1")
    with capture_logs() as logs:
        for theirs in (0.5, 0.0, 3600.0, 3601.0, 0.1, 0.0):
            found.hear(theirs, asked_at=0.0, answered_at=0.5)
    told = [(entry["event"], entry["ahead"]) for entry in logs]
    assert told == [("node.clock_differs", 3599.5), ("node.clock_agrees", 0.0)]


def test_an_engine_is_asked_once_a_minute_also_one_that_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    found = skew.Skew("n1")
    assert found.is_due
    found.put_off()
    assert not found.is_due
    now += skew.KEPT
    assert found.is_due
    found.hear(0.0, asked_at=0.0, answered_at=0.0)
    assert not found.is_due
