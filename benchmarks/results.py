"""What a figure hands back: rows with a value, what it was compared with, and whether its target is reached."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Target:
    """A line of the table in the architecture. `at_least` False: the value must be at most `value`."""

    value: float
    at_least: bool
    words: str

    def is_reached(self, value: float) -> bool:
        compare: Callable[[float, float], bool] = operator.ge if self.at_least else operator.le
        return compare(value, self.value)


@dataclass(frozen=True, slots=True)
class Row:
    """
    One measurement. `measured` is what the target speaks of where that is not `value` itself, a ratio for instance; `details` are
    numbers for the JSON file, `spread` and `compared` sentences for the table.
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
        """None: there is no target for it."""
        if self.target is None:
            return None
        return self.target.is_reached(self.value if self.measured is None else self.measured)


@dataclass(frozen=True, slots=True)
class Result:
    """A figure's rows and remarks; `failure` says why there are no more of them, `surroundings` what the machine was like."""

    name: str
    title: str
    seconds: float
    rows: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    surroundings: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
