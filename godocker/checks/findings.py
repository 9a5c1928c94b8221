"""Results of the checks of `godocker doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.rules import known_faults


class State(StrEnum):
    WELL = "ok"
    WARNING = "warning"  #: works, but should be improved
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


def faults(part: str, found: Sequence[known_faults.Found]) -> list[Finding]:
    """Return a finding for each known fault of a version: a warning, or well if the fault cannot be reached."""
    return [(well if fault.is_closed else warning)(part, str(fault)) for fault in found]


version = known_faults.parse
