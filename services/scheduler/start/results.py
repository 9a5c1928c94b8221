"""Results of starts that change what the scheduler holds in memory, queued for the next cycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.runtime import lifetime


@dataclass(frozen=True, slots=True)
class Released:
    """The attempt holds no resources."""

    task_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Undone:
    """The start was undone, and the task is pending again."""

    task_id: int


@dataclass(frozen=True, slots=True)
class PortsTaken:
    """A program outside of this system listens on `ports` of `node`: they are not given to tasks before `until`."""

    node: str
    ports: Sequence[int]
    until: float  #: seconds since the epoch


Result = Released | Undone | PortsTaken


class Results:
    """The queue between the starts, which put results, and the cycle, which drains them."""

    def __init__(self, on_release: lifetime.Wakeup) -> None:
        """`on_release` is woken by each `Released`: a waiting task may have room now."""
        self._results: list[Result] = []
        self._on_release = on_release

    def put(self, result: Result) -> None:
        self._results.append(result)
        if isinstance(result, Released):
            self._on_release.set()

    def drain(self) -> list[Result]:
        """Return all results, oldest first, and empty the queue."""
        drained, self._results = self._results, []
        return drained
