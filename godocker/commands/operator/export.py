"""`godocker export`: copy files shipped with GoDocker into a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from godocker import shipped

app = typer.Typer(help="Copy files shipped with GoDocker into a directory.", no_args_is_help=True)

Target = Annotated[Path, typer.Argument(metavar="DIR", help="Directory to write to. It must be empty or not exist.")]


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="export")


@app.command()
def deploy(target: Target) -> None:
    """Copy the files for a deployment: Compose file, image, alerts, dashboards, example configuration."""
    _print_count(shipped.copy("deploy", target), target)
    print(
        "`docker compose build` needs a source checkout. Without one, set GODOCKER_IMAGE in .env to an existing image."
    )


@app.command()
def schemas(target: Target) -> None:
    """Copy the schemas of the Web API: openapi.json and task.json."""
    _print_count(shipped.copy("schemas", target), target)


def _print_count(count: int, target: Path) -> None:
    print(f"wrote {count} files to {target}")
