"""Counts and results of an array's children: pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """Numbers of an array's stored children by state."""

    waiting: int = 0
    placed: int = 0
    over: int = 0

    @property
    def active(self) -> int:
        return self.waiting + self.placed


@dataclass(frozen=True, slots=True)
class ArrayResult:
    """The result of an ended array: start and end, numbers of successes and failures, and the first failed indices."""

    started_at: float | None
    ended_at: float | None
    succeeded: int
    failures: int
    failed: list[int]
