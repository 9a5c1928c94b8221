"""`godocker config`: check a configuration before anything starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from godocker import configuration
from godocker.commands.common import options, tables
from shared.wording import texts

app = typer.Typer(help="Check a configuration before anything starts.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="config")


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="YAML file with settings. Default: the configuration of the system."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    data_dir: options.DataDir = None,
) -> None:
    """Check a configuration and print its problems. Starts nothing and contacts no server."""
    report = configuration.check(file, data_dir)
    if as_json:
        tables.show_json({"problems": report.problems, "warnings": report.warnings, "set": report.given})
    else:
        for kind, sentences in (("problem", report.problems), ("warning", report.warnings)):
            for sentence in sentences:
                print(f"{kind}: {texts.printable(sentence)}", file=sys.stderr)
        if not report.problems:
            names = ", ".join(report.given) or "none, so all defaults apply"
            print(f"the configuration is valid; settings given: {names}")
    if report.problems or (strict and report.warnings):
        raise typer.Exit(1)
