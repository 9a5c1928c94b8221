"""A copy of a database notices its living original; a restored one notices that there is none."""

from __future__ import annotations

import pytest

from shared.system import claims
from shared.system.claims import PATIENCE, Foreign, State

OURS = ["before", "last"]
HELD, NOT_YET = State(held=True), State()


def judged(state: State, *looks: tuple[float, str | None]) -> list[bool]:
    """Return whether the claim is held after each check, given as time and word."""
    found = []
    for now, word in looks:
        state = claims.next_state(state, word, OURS, now=now)
        found.append(state.held)
    return found


@pytest.mark.parametrize("word", [None, "last", "before"])
@pytest.mark.parametrize("before", [NOT_YET, HELD, State(foreign=Foreign("x", 0.0, lives=True))])
def test_a_known_word_or_none_gives_the_claim_at_once(before: State, word: str | None) -> None:
    assert judged(before, (0.0, word)) == [True]


def test_a_copy_stays_away_for_as_long_as_the_word_changes() -> None:
    assert judged(NOT_YET, (0, "a"), (1, "a"), (2, "b"), (3, "c"), (100, "c"), (101, "d")) == [False] * 6


def test_a_restored_database_waits_until_nobody_wrote_for_a_while() -> None:
    looks = [(0.0, "a"), (PATIENCE - 1, "a"), (PATIENCE, "a"), (PATIENCE + 1, "a")]
    assert judged(NOT_YET, *looks) == [False, False, True, True]


def test_a_holder_keeps_the_claim_despite_one_unknown_word() -> None:
    assert judged(HELD, (0, "a"), (1, "last")) == [True, True]


def test_a_holder_gives_the_claim_up_once_another_writes() -> None:
    assert judged(HELD, (0, "a"), (1, "b"), (2, "b"), (3, "last")) == [True, False, False, True]
