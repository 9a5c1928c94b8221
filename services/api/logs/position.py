"""Positions in the output of a task, which are the ids of events, like `3-120-55`: pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from shared import errors

_ID = re.compile(r"([0-9]{1,9})-([0-9]{1,15})-([0-9]{1,15})", re.ASCII)


class Stream(StrEnum):
    """An output stream of a task."""

    OUT = "out"
    ERR = "err"


FILES = {Stream.OUT: "god.log", Stream.ERR: "god.err"}


@dataclass(frozen=True, slots=True)
class Position:
    """The next byte to send in each stream of `attempt`; 0: the first attempt is still to come."""

    attempt: int = 0
    out: int = 0
    err: int = 0

    def of(self, stream: Stream) -> int:
        return self.out if stream is Stream.OUT else self.err

    def at(self, stream: Stream, offset: int) -> Position:
        return replace(self, out=offset) if stream is Stream.OUT else replace(self, err=offset)

    def __str__(self) -> str:
        return f"{self.attempt}-{self.out}-{self.err}"


def parse(text: str) -> Position:
    """Return the position that an event id names. Raises `errors.InvalidInput`."""
    match = _ID.fullmatch(text)
    if match is None:
        raise errors.InvalidInput.of("last_event_id", "must be the id of an event of this stream, like 1-4096-0")
    return Position(*(int(number) for number in match.groups()))
