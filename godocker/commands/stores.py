"""`godocker prepare-mongo`: make a new mongod the store of this system."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from godocker import replica
from godocker.commands import options
from shared import clock, errors

ROOT = "root"  #: of mongod
TIMEOUT = 120.0  #: seconds
_PAUSE = 0.2


def register(app: typer.Typer) -> None:
    app.command("prepare-mongo")(prepare_mongo)


def prepare_mongo(
    host: Annotated[str, typer.Option(help="What the other services call it.")],
    root_password: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="File with that of its root.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="On this machine.")] = 27017,
    config: options.Config = None,
) -> None:
    """Make the mongod on this machine a replica set of one with the users it needs. Doing it again changes nothing."""
    settings = options.load(config, None)
    if settings.mongo_user is None or settings.mongo_password is None:
        raise errors.ConfigurationError("mongo_user and mongo_password say who is to be made")
    root = replica.Login(ROOT, root_password.read_text().strip())
    ours = replica.Login(settings.mongo_user, settings.mongo_password.get_secret_value())
    deadline = clock.monotonic() + TIMEOUT
    while not (
        replica.make_ready(port, root, host=host) and replica.allow(port, root, ours, database=settings.mongo_db)
    ):
        if clock.monotonic() > deadline:
            raise errors.ConfigurationError(f"the mongod on port {port} was not ready after {TIMEOUT:g} s")
        time.sleep(_PAUSE)
    print(f"{host}:{port} is ready: {ours.user} may read and write {settings.mongo_db}")
