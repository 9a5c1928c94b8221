"""Limits on the number of pending tasks: pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PendingLimits:
    """The most pending tasks of one user and of all users. None: unlimited."""

    user: int | None
    everybody: int | None

    @property
    def are_none(self) -> bool:
        return self.user is None and self.everybody is None
