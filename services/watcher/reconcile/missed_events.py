"""Count ends whose event was missed, apart from those whose event is still on its way: pure."""

from __future__ import annotations

from collections.abc import Iterable

from shared.executors.types import Handle


class MissedEvents:
    """Ends that a list showed and no event has reported yet."""

    def __init__(self) -> None:
        self._listed: set[Handle] = set()
        self._reported: set[Handle] = set()

    def note_event(self, handle: Handle) -> None:
        """Record that an event reported this end."""
        self._reported.add(handle)
        self._listed.discard(handle)

    def note_list(self, handles: Iterable[Handle]) -> int:
        """
        Record that a list showed these ends. Return how many ends of the previous list no event has reported: an event may
        arrive until the next list.
        """
        missed, listed = self._listed, set(handles)
        self._listed = listed - self._reported - missed
        self._reported.clear()
        return len(missed)
