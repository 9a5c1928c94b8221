"""A lease: the right to act, for one holder at a time. Pure."""

from __future__ import annotations

from dataclasses import dataclass

SCHEDULER = "scheduler"  #: the lease of the leading scheduler


@dataclass(frozen=True, slots=True)
class Lease:
    """A held lease. `until` is on our monotonic clock; `epoch` grows with each change of holder."""

    name: str
    holder: str
    epoch: int
    until: float
