"""A node that does not answer its watcher: since when, and how often it was tried. Pure."""

from __future__ import annotations

from dataclasses import dataclass

TRIES = 3  #: consecutive failed tries before a node can count as lost


@dataclass(frozen=True, slots=True)
class UnreachableNode:
    """A node that does not answer. `since` and `at` are on the clock of the MongoDB server, seconds since the epoch."""

    node: str
    since: float
    at: float  #: of the last try
    seconds: float  #: unreachable time without gaps between tries
    tries: int  #: consecutive, without a gap in which nobody tried
    reason: str

    def is_lost(self, after: float) -> bool:
        """Return whether the node was unreachable for `after` seconds and was tried often enough."""
        return self.seconds >= after and self.tries >= TRIES
