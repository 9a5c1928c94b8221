"""A restored backup, until all nodes are compared with it for runs that it does not know."""

from __future__ import annotations

from shared.models.stored import Stored


class Restoration(Stored):
    """`at` is the time of the restoration, `of` that of the backup, in seconds since the epoch."""

    at: float
    of: float
    seen: list[str] = []  #: nodes whose runs are adopted
