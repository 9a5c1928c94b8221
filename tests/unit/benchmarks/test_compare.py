"""Two commits are compared pair by pair: `benchmarks.compare`."""

from __future__ import annotations

from benchmarks import compare

RATE, SPAN = ("submits", "16 connections"), ("launch", "submit to running")


def test_rows_are_matched_by_figure_and_name_and_each_pair_gives_a_ratio() -> None:
    measured = [
        ({RATE: (100.0, "tasks/s"), SPAN: (20.0, "ms")}, {RATE: (110.0, "tasks/s"), SPAN: (10.0, "ms")}),
        ({RATE: (200.0, "tasks/s"), SPAN: (20.0, "ms")}, {RATE: (180.0, "tasks/s"), SPAN: (30.0, "ms")}),
    ]
    rate, span = compare.paired(measured)
    assert (rate.what, rate.unit, rate.ratios) == ("16 connections", "tasks/s", [1.1, 0.9])
    assert (span.what, span.unit, span.ratios) == ("submit to running", "ms", [0.5, 1.5])


def test_a_row_of_one_commit_alone_is_left_out_and_a_pair_that_lacks_it_too() -> None:
    measured = [
        ({RATE: (100.0, "tasks/s"), SPAN: (20.0, "ms")}, {RATE: (110.0, "tasks/s")}),
        ({}, {RATE: (180.0, "tasks/s")}),
    ]
    (rate,) = compare.paired(measured)
    assert rate.pairs == [(100.0, 110.0)]


def test_a_pair_whose_old_value_is_nothing_has_no_ratio() -> None:
    assert compare.Compared("launch", "polls", "polls", [(0.0, 5.0), (4.0, 5.0)]).ratios == [1.25]


def test_the_table_says_the_median_of_the_ratios_and_every_one_of_them() -> None:
    rows = [compare.Compared("submits", "16 connections", "tasks/s", [(100.0, 90.0), (100.0, 120.0), (100.0, 100.0)])]
    text = compare.document(rows, old="aaa", new="bbb", described={"cores": "2"}, load=0.1, quick=False)
    assert "| submits: 16 connections | 100 tasks/s | 100 tasks/s | **1.000** | 0.90 1.20 1.00 |" in text
    assert "Provisional" not in text


def test_a_busy_machine_makes_the_table_provisional() -> None:
    assert "Provisional" in compare.document([], old="a", new="b", described={}, load=2.0, quick=False)
