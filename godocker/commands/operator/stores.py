"""`godocker prepare-mongo`: set up a new mongod for this system."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from godocker.commands.common import options
from shared import clock, errors
from shared.store.system import replica_set

ROOT = "root"  #: administrator of mongod
TIMEOUT = 120.0  #: seconds
_PAUSE = 0.2


def register(app: typer.Typer) -> None:
    app.command("prepare-mongo")(prepare_mongo)


def prepare_mongo(
    host: Annotated[str, typer.Option(metavar="NAME", help="Host name at which the services reach this mongod.")],
    root_password: Annotated[
        Path,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="File with the password of mongod's user root."),
    ],
    port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="NUMBER", help="Port of mongod on this machine.")
    ] = 27017,
    config: options.Config = None,
) -> None:
    """Make the mongod on this machine a replica set of one, and create its users. Repeating it changes nothing."""
    settings = options.load(config, None)
    if settings.mongo_user is None or settings.mongo_password is None:
        raise errors.ConfigurationError("set mongo_user and mongo_password, the user to create")
    root = replica_set.Login(ROOT, root_password.read_text().strip())
    ours = replica_set.Login(settings.mongo_user, settings.mongo_password.get_secret_value())
    deadline = clock.monotonic() + TIMEOUT
    while not (
        replica_set.make_ready(port, root, host=host)
        and replica_set.allow(port, root, ours, database=settings.mongo_db)
    ):
        if clock.monotonic() > deadline:
            raise errors.ConfigurationError(f"the mongod on port {port} was not ready after {TIMEOUT:g} s")
        time.sleep(_PAUSE)
    print(f"{host}:{port} is ready: {ours.user} may read and write {settings.mongo_db}")
