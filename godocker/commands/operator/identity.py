"""`godocker identity`: print or change the identity of a system."""

from __future__ import annotations

from typing import Annotated

import typer

from godocker.commands.common import options
from godocker.database import identities
from shared import errors

New = Annotated[bool, typer.Option("--new", help="Give a copied database an identity of its own.")]
Keep = Annotated[bool, typer.Option("--keep", help="Mark a moved or replaced shared_dir as belonging to this system.")]


def register(app: typer.Typer) -> None:
    app.command()(identity)


def identity(
    new: New = False, keep: Keep = False, config: options.Config = None, data_dir: options.DataDir = None
) -> None:
    """Print the identity of the system.

    Use the options after a database was copied, while no service runs.
    """
    settings = options.load(config, data_dir)
    if new and keep:
        raise errors.ConfigurationError("use only one of --new and --keep")
    if new:
        renewed = identities.renew(settings)
        print(f"{renewed.mark} (a copy of {renewed.copy_of}): tasks of {renewed.copy_of} are left alone")
    elif keep:
        print(f"{identities.keep(settings).mark} keeps its tasks in {settings.shared_dir}")
    elif current := identities.show(settings):
        print(current.mark)
    else:
        raise errors.ConfigurationError("this database has no identity yet: the first service that starts creates one")
