"""`godocker backup` and `godocker restore`: the database as one file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from godocker.commands.common import options
from godocker.database import backups, identities

Where = Annotated[
    Path, typer.Argument(metavar="DIR", help="Directory for the new file; `-` writes to standard output.")
]
Longest = Annotated[
    int,
    typer.Option(
        "--time",
        min=1,
        max=86400,
        metavar="SECONDS",
        help="Maximum duration in seconds. MongoDB keeps the snapshot that long.",
    ),
]
Source = Annotated[
    Path, typer.Argument(metavar="FILE", help="File written by `godocker backup`; `-` reads standard input.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a database that is not empty. Its content is destroyed.")]
KeepIdentity = Annotated[
    bool,
    typer.Option("--keep-identity", help="The system of the backup is lost with its shared_dir, and this replaces it."),
]


def register(app: typer.Typer) -> None:
    app.command()(backup)
    app.command()(restore)


def backup(
    where: Where, time_: Longest = backups.LONGEST, config: options.Config = None, data_dir: options.DataDir = None
) -> None:
    """Write a snapshot of the database to one file, while the system runs. Prints the name of the file."""
    settings = options.load(config, data_dir)
    made = backups.make(settings, where, longest=time_)
    if made is not None:
        print(made)
    print(
        f"Not in it: files of tasks and users in {settings.shared_dir} (after this, take a snapshot of that file system, or copy "
        "it with rsync -aHAX), the configuration and its secrets.",
        file=sys.stderr,
    )


def restore(
    source: Source,
    force: Force = False,
    keep_identity: KeepIdentity = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Load a backup into an empty database, while no service runs. Tasks that run on the nodes are adopted at the next start."""
    settings = options.load(config, data_dir)
    restored = backups.restore(
        settings,
        source,
        force=force,
        settle=lambda database, before: identities.settle_restored(database, settings, before, keep=keep_identity),
    )
    made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(restored.header.at))
    documents = ", ".join(f"{count} {name}" for name, count in restored.documents.items())
    print(f"restored the backup of {made}: {documents}")
    print(f"Identity: {restored.identity}.")
    if not backups.is_current(restored.header):
        print("It is of an earlier version, and is brought up to this one by the first service that starts.")
    print(
        "Start the services: nothing is placed until all nodes have been looked at, and what runs there is adopted. "
        "Tasks that were sent after the backup are lost, and what runs of them is removed."
    )
