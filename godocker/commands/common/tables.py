"""Print lists, as tables for people and as JSON for programs: data is shown as plain text, whatever it contains."""

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

_UNWATCHED = 200  #: columns; wide enough not to break lines where nobody watches: a log is searched for whole ones


def show(columns: Sequence[str], rows: Iterable[Sequence[object]], *, styles: Sequence[str | None] = ()) -> None:
    """Print a table. A cell is anything with a `str`; None is an empty one. `styles`: one for each column."""
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(Text(column), style=styles[number] if number < len(styles) else None)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
    console = Console() if Console().is_terminal else Console(width=_UNWATCHED)
    console.print(table)


def plain(cell: object, style: str = "") -> Text:
    """A cell without markup: `[/red]` in a name is what the name contains, and an escape sequence is shown as one."""
    return Text("" if cell is None else texts.printable(str(cell), keep=""), style=style)


def show_json(value: object) -> None:
    """Print a value as one line of JSON, in ASCII: nothing in it reaches the terminal as it is."""
    print(json.dumps(value, default=str))
