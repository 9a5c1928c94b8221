"""The difference between an engine's clock and ours: measured regularly, logged when it grows and when it is gone."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from shared import clock
from shared.executors.docker import skew


@pytest.fixture
def found() -> skew.Skew:
    return skew.Skew("n1")


@pytest.mark.parametrize(("theirs", "ahead"), [(10.0, 0.0), (11.0, 0.0), (10.4, 0.0), (13.0, 2.5), (8.0, -2.5)])
def test_clocks_that_may_agree_do_and_others_differ_by_the_middle(
    found: skew.Skew, theirs: float, ahead: float
) -> None:
    found.note(theirs, asked_at=10.0, answered_at=11.0)
    assert found.ahead == ahead


def test_of_answers_that_agree_the_fastest_counts(found: skew.Skew) -> None:
    found.note(104.0, asked_at=1.0, answered_at=5.0)
    assert found.ahead == 101.0
    found.note(200.1, asked_at=100.0, answered_at=100.2)
    assert found.ahead == pytest.approx(100.0)
    found.note(304.0, asked_at=201.0, answered_at=205.0)
    assert found.ahead == pytest.approx(100.0)


def test_a_clock_that_was_set_counts_however_slow_the_answer(found: skew.Skew) -> None:
    found.note(3600.0, asked_at=0.0, answered_at=0.01)
    found.note(12.0, asked_at=10.0, answered_at=15.0)
    assert found.ahead == 0.0


def test_an_old_measurement_is_less_certain(found: skew.Skew, monkeypatch: pytest.MonkeyPatch) -> None:
    found.note(100.05, asked_at=0.0, answered_at=0.1)
    began = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: began + 24 * 3600)
    found.note(1100.5, asked_at=1000.0, answered_at=1001.4)
    assert found.ahead == pytest.approx(99.8)


def test_a_differing_clock_is_logged_once_and_its_agreement_once(found: skew.Skew) -> None:
    with capture_logs() as logs:
        for theirs in (0.5, 0.0, 3600.25, 3601.25, 0.1, 0.0):
            found.note(theirs, asked_at=0.0, answered_at=0.5)
    told = [(entry["event"], entry["ahead"]) for entry in logs]
    assert told == [("node.clock_differs", 3600.0), ("node.clock_agrees", 0.0)]


def test_a_clock_is_read_once_a_minute_even_if_the_engine_does_not_report_it(
    found: skew.Skew, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.monotonic() + 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    assert found.is_due
    found.put_off()
    assert not found.is_due
    now += skew.KEPT
    assert found.is_due
    found.note(0.0, asked_at=0.0, answered_at=0.0)
    assert not found.is_due
