"""Short names of runs in tests: `god-7-1` is the first attempt of task 7, whatever its system."""

from __future__ import annotations

from shared.executors import types


def short(name: str) -> str:
    """Return a run's name without its system."""
    parsed = types.parse_name(name.lstrip("/"))
    return types.run_name(*parsed[:2]) if parsed else name


def system_of(name: str) -> str | None:
    """Return the mark in a run's name."""
    parsed = types.parse_name(name.lstrip("/"))
    return parsed[2] if parsed else None
