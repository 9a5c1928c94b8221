"""Progress of long operations, printed on standard error."""

from __future__ import annotations

import sys
from types import TracebackType

from shared import clock

EVERY = 2.0  #: seconds between two lines; short operations print nothing


class Progress:
    """Progress of one operation: `with Progress("read") as progress: … progress.note("tasks", 2000)`."""

    def __init__(self, done: str) -> None:
        self._done = done
        self._printed_at = clock.monotonic()
        self._printed = False

    def note(self, what: str, count: int) -> None:
        """Report that `count` of `what` are done."""
        if clock.monotonic() >= self._printed_at + EVERY:
            self._printed_at = clock.monotonic()
            self._printed = True
            print(f"{self._done} {count} {what}", file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._printed and error is None:
            print(f"{self._done} all", file=sys.stderr, flush=True)
