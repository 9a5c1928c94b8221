"""`godocker settings`: list all settings, or describe one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from godocker import reference
from godocker.commands.common import tables
from shared import errors
from shared.wording import suggestions


def register(app: typer.Typer) -> None:
    app.command("settings")(settings)


def settings(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of a setting.")] = None,
    as_json: tables.AsJson = False,
) -> None:
    """List all settings, or describe one."""
    known = {entry.name: entry for entry in reference.entries()}
    if name is None:
        if as_json:
            tables.show_json([asdict(entry) for entry in known.values()])
        else:
            rows = [(entry.name, entry.kind, entry.default, entry.description) for entry in known.values()]
            tables.show(("name", "value", "default", "description"), rows)
        return
    plain = name.lower().removeprefix("godocker_")
    if plain not in known:
        raise errors.NotFound(f"{name!a} is not a setting{suggestions.did_you_mean(plain, known)}")
    if as_json:
        tables.show_json([asdict(known[plain])])
        return
    _describe(known[plain])


def _describe(entry: reference.Entry) -> None:
    print(f"{entry.name}: {entry.description}")
    print(f"  value:    {entry.kind}")
    print(f"  default:  {entry.default}")
    print(f"  variable: GODOCKER_{entry.name.upper()}")
    print(f"  changes:  {'by a reload (godocker reload)' if entry.reloads else 'by a restart'}")
    for part, fields in reference.parts().items():
        if part in entry.kind.split():
            print(f"  {part}:")
            for field in fields:
                print(f"    {field.name} ({field.kind}; {field.default or 'required'}): {field.description}")
