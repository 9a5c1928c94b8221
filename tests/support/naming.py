"""Runs by the names that stories know: `god-7-1` is the first attempt of task 7, whichever system it is one of."""

from __future__ import annotations

from shared.executors import types


def short(name: str) -> str:
    """A run's name without its system."""
    parsed = types.parse_name(name.lstrip("/"))
    return types.run_name(*parsed[:2]) if parsed else name


def system_of(name: str) -> str | None:
    """The mark in a run's name."""
    parsed = types.parse_name(name.lstrip("/"))
    return parsed[2] if parsed else None
