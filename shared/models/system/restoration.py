"""A backup that was restored, until all nodes were looked at for what ran on after it was made."""

from __future__ import annotations

from shared.models.stored import Stored


class Restoration(Stored):
    """`at` is when it was restored, `of` when the backup was made, in seconds since the epoch."""

    at: float
    of: float
    seen: list[str] = []  #: nodes whose runs are adopted
