"""Results of a figure: rows with a value, a comparison, and whether the target is reached."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A target for a value. If `at_least` is False, the measured value must be at most `value`."""

    value: float
    at_least: bool
    words: str

    def is_reached(self, value: float) -> bool:
        compare: Callable[[float, float], bool] = operator.ge if self.at_least else operator.le
        return compare(value, self.value)


@dataclass(frozen=True, slots=True)
class Row:
    """
    One measurement. `measured` is compared with the target if that is not `value` itself, for example a ratio. `details` are
    numbers for the JSON file; `spread` and `compared` are texts for the table.
    """

    what: str
    value: float
    unit: str
    spread: str = ""
    compared: str = ""
    target: Target | None = None
    measured: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool | None:
        """Return whether the target is reached; None without a target."""
        if self.target is None:
            return None
        return self.target.is_reached(self.value if self.measured is None else self.measured)


@dataclass(frozen=True, slots=True)
class Result:
    """Rows and remarks of a figure. `failure` says why rows are missing; `surroundings` describes the machine."""

    name: str
    title: str
    seconds: float
    rows: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    surroundings: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
