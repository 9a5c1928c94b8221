"""`godocker version`: print the version."""

from __future__ import annotations

from importlib import metadata

import typer


def register(app: typer.Typer) -> None:
    app.command()(version)


def version() -> None:
    """Print the version of GoDocker."""
    print(metadata.version("godocker"))
