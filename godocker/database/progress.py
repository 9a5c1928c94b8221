"""Say on standard error how far long work is."""

from __future__ import annotations

import sys
from types import TracebackType

from shared import clock

EVERY = 2.0  #: seconds between two lines: short work says nothing


class Progress:
    """`with Progress("read") as progress: … progress.note("tasks", 2000)`."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._said_at = clock.monotonic()
        self._said = False

    def note(self, what: str, count: int) -> None:
        """So many of something are done."""
        if clock.monotonic() >= self._said_at + EVERY:
            self._said_at = clock.monotonic()
            self._said = True
            print(f"{self._done} {count} {what}", file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._said and error is None:
            print(f"{self._done} all", file=sys.stderr, flush=True)
