"""Output for people and for programs; it is cut and coloured only on a terminal."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from shared.wording import texts


class Format(StrEnum):
    """Forms of a list."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


Output = Annotated[Format, typer.Option("-o", "--output", help="Form of the output.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer of the server as JSON.")]


def is_watched() -> bool:
    """Return whether standard output is a terminal on which colours are wanted."""
    return sys.stdout.isatty()


def print_json(value: Any) -> None:
    """Print ASCII JSON, so that no escape sequence reaches the terminal."""
    print(json.dumps(value, indent=2 if is_watched() else None))


def print_rows(
    form: Format, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], documents: Iterable[Any]
) -> None:
    """Print a list: `rows` for people and spreadsheets, the server's `documents` for programs."""
    match form:
        case Format.JSON:
            print_json(list(documents))
        case Format.JSONL:
            for document in documents:
                print(json.dumps(document))
        case Format.CSV:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
        case _:
            _table(columns, [[_cell(row.get(column)) for column in columns] for row in rows])


def _cell(value: Any) -> str:
    return "" if value is None else texts.printable(str(value), keep="")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if is_watched():
        _rich_table(columns, rows)
        return
    widths = [max(len(column), *(len(row[at]) for row in rows), 0) for at, column in enumerate(columns)]
    for row in (tuple(columns), *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # Imported here, because it takes longer than everything else that a list needs.
    from godocker.commands.common import tables

    tables.show(columns, [[tables.plain(cell, _STYLES.get(cell, "")) for cell in row] for row in rows])


_STYLES = {"running": "green", "failed": "red", "killed": "red", "pending": "yellow", "held": "yellow"}
