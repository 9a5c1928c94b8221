"""`godocker demo`: a system of its own, a few tasks, their results."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    app.command(hidden=True)(demo)


def demo() -> None:
    """Start a system, run tasks in it, show them, take it down."""
