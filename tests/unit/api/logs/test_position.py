"""Positions in the output of a task, as the ids of events carry them."""

from __future__ import annotations

import pytest

from services.api.logs import position
from services.api.logs.position import Position, Stream
from shared import errors


def test_an_id_is_the_position_behind_its_event() -> None:
    at = Position(3).at(Stream.OUT, 120).at(Stream.ERR, 55)
    assert str(at) == "3-120-55"
    assert position.parse(str(at)) == at
    assert (at.of(Stream.OUT), at.of(Stream.ERR)) == (120, 55)


@pytest.mark.parametrize(
    "text", ["", "3", "3-1", "3-1-2-4", "-1-0-0", "a-0-0", "3-1-2\n", "٣-1-2", "1-" + "9" * 16 + "-0"]
)
def test_another_id_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidInput, match="last_event_id"):
        position.parse(text)
