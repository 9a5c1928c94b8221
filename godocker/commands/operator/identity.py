"""`godocker identity`: which system a database is that of."""

from __future__ import annotations

from typing import Annotated

import typer

from godocker.commands.common import options
from godocker.database import identities
from shared import errors

New = Annotated[bool, typer.Option("--new", help="Give a copied database an identity of its own.")]
Keep = Annotated[bool, typer.Option("--keep", help="Mark a moved or replaced shared_dir as the one of this system.")]


def register(app: typer.Typer) -> None:
    app.command()(identity)


def identity(
    new: New = False, keep: Keep = False, config: options.Config = None, data_dir: options.DataDir = None
) -> None:
    """Print the identity of the system.

    The options change it after a database was copied, while no service runs.
    """
    settings = options.load(config, data_dir)
    if new and keep:
        raise errors.ConfigurationError("--new and --keep exclude each other")
    if new:
        made = identities.renew(settings)
        print(f"{made.mark} (a copy of {made.copy_of}): what {made.copy_of} runs is left alone")
    elif keep:
        print(f"{identities.keep(settings).mark} has its tasks in {settings.shared_dir}")
    elif found := identities.show(settings):
        print(found.mark)
    else:
        raise errors.ConfigurationError("this database has no identity yet: the first service that starts makes one")
