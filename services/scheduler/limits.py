"""How long a task may run: what it says, or less where the configuration says so. Pure."""

from __future__ import annotations


def lifespan(own: float | None, most: float | None) -> float | None:
    """Seconds that a task may run, of what it asks for and what the configuration allows; None if neither says."""
    known = [seconds for seconds in (own, most) if seconds is not None]
    return min(known, default=None)
