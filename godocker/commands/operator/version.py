"""`godocker version`: which one this is."""

from __future__ import annotations

from importlib import metadata

import typer


def register(app: typer.Typer) -> None:
    app.command()(version)


def version() -> None:
    """Print the version."""
    print(metadata.version("godocker"))
