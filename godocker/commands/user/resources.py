"""`godocker usage`, `projects`, `images` and `recipes`: list resources of the server."""

from __future__ import annotations

from typing import Any

import typer

from godocker.commands.user.output import Format, Output, print_rows
from godocker.commands.user.session import client, reported
from shared.units import sizes


def register(app: typer.Typer) -> None:
    for command in (usage, projects, images, recipes):
        app.command()(command)


@reported
def usage(output: Output = Format.TABLE) -> None:
    """List used and total resources of each node."""
    with client() as made:
        nodes = made.document("usage")
    rows = [
        {
            "name": node["name"],
            "cpu": "{:g}/{:g}".format(*node["cpu"]),
            "memory": " of ".join(sizes.shown(int(amount)) for amount in node["mem"]),
            "disk": " of ".join(sizes.shown(int(amount)) for amount in node["disk"]),
        }
        for node in nodes
    ]
    print_rows(output, ("name", "cpu", "memory", "disk"), rows, nodes)


@reported
def projects(output: Output = Format.TABLE) -> None:
    """List your projects."""
    _list("project", output)


@reported
def images(output: Output = Format.TABLE) -> None:
    """List the images that the server offers."""
    with client() as made:
        offered = made.document("config").get("images", [])
    _show(offered, output)


@reported
def recipes(output: Output = Format.TABLE) -> None:
    """List the recipes of the marketplace that you may use."""
    _list("marketplace/recipe", output)


def _list(path: str, output: Format) -> None:
    with client() as made:
        said = made.document(path)
    _show(said if isinstance(said, list) else next(iter(said.values())), output)


def _show(rows: list[Any], output: Format) -> None:
    found = [row if isinstance(row, dict) else {"name": row} for row in rows]
    columns = list(dict.fromkeys(name for row in found for name, value in row.items() if not isinstance(value, dict)))
    print_rows(output, columns or ["name"], found, rows)
