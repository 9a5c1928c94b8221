"""Conditional requests for files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.files import preconditions
from services.files.preconditions import Outcome, Validators
from shared import clock

KNOWN = Validators('"a"', 1000)


WEAK = Validators('W/"a"', 1000)


AT, BEFORE, AFTER = (f"Thu, 01 Jan 1970 00:16:{second} GMT" for second in (40, 39, 41))


@pytest.mark.parametrize(
    ("headers", "known", "outcome"),
    [
        ({}, KNOWN, Outcome.SEND),
        ({"if-none-match": '"a"'}, KNOWN, Outcome.NOT_MODIFIED),
        ({"if-none-match": '"b", W/"a"'}, KNOWN, Outcome.NOT_MODIFIED),
        ({"if-none-match": '"a"'}, WEAK, Outcome.NOT_MODIFIED),
        ({"if-none-match": "*"}, KNOWN, Outcome.NOT_MODIFIED),
        ({"if-none-match": '"b"'}, KNOWN, Outcome.SEND),
        ({"if-none-match": '"b"', "if-modified-since": AT}, KNOWN, Outcome.SEND),
        ({"if-modified-since": AT}, KNOWN, Outcome.NOT_MODIFIED),
        ({"if-modified-since": AFTER}, KNOWN, Outcome.NOT_MODIFIED),
        ({"if-modified-since": BEFORE}, KNOWN, Outcome.SEND),
        ({"if-modified-since": "yesterday"}, KNOWN, Outcome.SEND),
        ({"if-match": '"a"'}, KNOWN, Outcome.SEND),
        ({"if-match": "*"}, KNOWN, Outcome.SEND),
        ({"if-match": '"b"'}, KNOWN, Outcome.FAILED),
        ({"if-match": 'W/"a"'}, WEAK, Outcome.FAILED),
        ({"if-match": '"a"', "if-none-match": '"a"'}, KNOWN, Outcome.NOT_MODIFIED),
        ({"if-unmodified-since": BEFORE}, KNOWN, Outcome.FAILED),
        ({"if-unmodified-since": AT}, KNOWN, Outcome.SEND),
        ({"if-match": '"a"', "if-unmodified-since": BEFORE}, KNOWN, Outcome.SEND),
    ],
)
def test_conditions(headers: dict[str, str], known: Validators, outcome: Outcome) -> None:
    assert preconditions.evaluate(headers, known) is outcome


@pytest.mark.parametrize(
    ("headers", "known", "wanted"),
    [
        ({}, KNOWN, True),
        ({"if-range": '"a"'}, KNOWN, True),
        ({"if-range": AT}, KNOWN, True),
        ({"if-range": '"b"'}, KNOWN, False),
        ({"if-range": AFTER}, KNOWN, False),
        ({"if-range": 'W/"a"'}, WEAK, False),
        ({"if-range": AT}, WEAK, False),
    ],
)
def test_a_range_applies_only_to_the_named_state(headers: dict[str, str], known: Validators, wanted: bool) -> None:
    assert preconditions.range_applies(headers, known) is wanted


def test_validators_change_with_the_file_and_are_weak_just_after_a_change(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"one")
    os.utime(file, (1000, 1000))
    status = file.stat()
    fresh = preconditions.validators(status, now=status.st_ctime + 0.5)
    settled = preconditions.validators(status, now=status.st_ctime + 10)
    assert (fresh.etag, fresh.is_strong) == (f"W/{settled.etag}", False)
    assert (settled.is_strong, settled.last_modified) == (True, "Thu, 01 Jan 1970 00:16:40 GMT")
    file.write_bytes(b"two")
    os.utime(file, (1000, 1000))
    assert preconditions.validators(file.stat(), now=status.st_ctime + 10).etag != settled.etag
    os.utime(file, (-5, 2**33))
    assert preconditions.validators(file.stat(), now=clock.now()).last_modified, "a date far away can be said"
