"""`godocker backup` and `godocker restore`: write the database to one file, and load it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from godocker.commands.common import options
from godocker.database import backups, identities

Where = Annotated[Path, typer.Argument(metavar="DIR", help="Directory for the new file, or `-` for standard output.")]
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
    Path, typer.Argument(metavar="FILE", help="File written by `godocker backup`, or `-` for standard input.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a database that is not empty. Destroys its content.")]
KeepIdentity = Annotated[
    bool,
    typer.Option(
        "--keep-identity",
        help="Continue as the backed-up system. Use it only if that system was lost together with its shared_dir.",
    ),
]


def register(app: typer.Typer) -> None:
    app.command()(backup)
    app.command()(restore)


def backup(
    where: Where, time_: Longest = backups.LONGEST, config: options.Config = None, data_dir: options.DataDir = None
) -> None:
    """Write a snapshot of the database to one file while the system runs, and print the name of the file."""
    settings = options.load(config, data_dir)
    made = backups.make(settings, where, longest=time_)
    if made is not None:
        print(made)
    print(
        f"Not included: files of tasks and users in {settings.shared_dir} (snapshot that file system now, or copy it with "
        "rsync -aHAX), the configuration, and its secrets.",
        file=sys.stderr,
    )


def restore(
    source: Source,
    force: Force = False,
    keep_identity: KeepIdentity = False,
    config: options.Config = None,
    data_dir: options.DataDir = None,
) -> None:
    """Load a backup into an empty database while no service runs. The next start adopts tasks that run on the nodes."""
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
        print("The backup is from an earlier version. The first service that starts upgrades it.")
    print(
        "Start the services. They adopt running tasks, and place new ones once all nodes have answered. Tasks submitted after "
        "the backup are lost, and their containers are removed."
    )
