"""Output of lists: tables for people, JSON for programs, data always as plain text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.wording import texts

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON list instead of a table.")]

_NO_TERMINAL_WIDTH = 200  #: columns; wide enough to keep lines of a log whole


def show(columns: Sequence[str], rows: Iterable[Sequence[object]], *, styles: Sequence[str | None] = ()) -> None:
    """Print a table. Cells are converted with `str`; None is an empty cell. `styles` has one entry per column."""
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(Text(column), style=styles[number] if number < len(styles) else None)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
    console = Console() if Console().is_terminal else Console(width=_NO_TERMINAL_WIDTH)
    console.print(table)


def plain(cell: object, style: str = "") -> Text:
    """Return a cell as plain text: markup and escape sequences in data are shown, not interpreted."""
    return Text("" if cell is None else texts.printable(str(cell), keep=""), style=style)


def show_json(value: object) -> None:
    """Print a value as one line of ASCII JSON, so that no escape sequence reaches the terminal."""
    print(json.dumps(value, default=str))
