"""`godocker doctor`: what is well with this installation, and what is not."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor() -> None:
    """Say of each part what is well and what is not."""
