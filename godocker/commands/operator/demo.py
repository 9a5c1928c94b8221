"""`godocker demo`: run a few tasks in a temporary system."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from godocker.demonstration import run


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(
    start_engine: Annotated[
        bool,
        typer.Option("--start-engine", help="Install and start a Docker Engine if none answers. Needs root on Debian."),
    ] = False,
) -> None:
    """Start a temporary system, run a few tasks in it, show them, and remove it."""
    # Unwind as after Ctrl-C, so that everything started is removed.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if not run.run(start_engine=start_engine):
        raise typer.Exit(1)
