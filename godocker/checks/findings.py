"""The result of one check of one part."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    WELL = "ok"
    WARNING = "warning"  #: works, and could be better
    BAD = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    part: str
    state: State
    detail: str


def well(part: str, detail: str) -> Finding:
    return Finding(part, State.WELL, detail)


def warning(part: str, detail: str) -> Finding:
    return Finding(part, State.WARNING, detail)


def bad(part: str, detail: str) -> Finding:
    return Finding(part, State.BAD, detail)


def version(text: str) -> tuple[int, ...]:
    """The leading numbers of a version, to compare: `1.1.5+ds1` is (1, 1, 5)."""
    numbers: list[int] = []
    for word in text.split("."):
        digits = word[: next((at for at, character in enumerate(word) if not character.isdigit()), len(word))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != word:
            break
    return tuple(numbers)
