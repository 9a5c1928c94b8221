"""Tell ends that no event told of from those whose event is on its way when a list shows them."""

from __future__ import annotations

from collections.abc import Iterable

from shared.executors.types import Handle


class Missed:
    """The ends that lists found and no event told of yet."""

    def __init__(self) -> None:
        self._found: set[Handle] = set()
        self._told: set[Handle] = set()

    def tell(self, handle: Handle) -> None:
        """An event told of this end."""
        self._told.add(handle)
        self._found.discard(handle)

    def find(self, handles: Iterable[Handle]) -> int:
        """
        A list found these ends. Return how many of those that the list before this one found were never told of: an event has
        from one list to the next to arrive.
        """
        missed, found = self._found, set(handles)
        self._found = found - self._told - missed
        self._told.clear()
        return len(missed)
