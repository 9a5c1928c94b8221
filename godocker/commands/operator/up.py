"""`godocker up`: run the whole system on this machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from godocker.commands.common import options
from godocker.local import data_directory, environment
from godocker.local import up as up_module
from shared.observe import logs


class ExecutorChoice(StrEnum):
    AUTO = "auto"
    DOCKER = "docker"
    PROCESS = "process"
    SIMULATED = "simulated"


def register(app: typer.Typer) -> None:
    app.command()(up)


def up(
    data_dir: Annotated[
        Path, typer.Option(metavar="DIR", help="Directory for databases, logs, secrets and task files.")
    ] = data_directory.DEFAULT,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address the gateway listens on. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, metavar="NUMBER", help="Port of the gateway; 0 takes a free one. Default: 6543."
        ),
    ] = None,
    executor: Annotated[
        ExecutorChoice | None,
        typer.Option(help="Executor of tasks. `auto` uses Docker if an engine answers, else processes. Default: auto."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, metavar="NUMBER", help="Number of gateway processes.")] = 1,
    config: options.Config = None,
) -> None:
    """Run the whole system on this machine. Starts MongoDB and Redis unless you configured your own. Ctrl-C stops it."""
    logs.configure("up")
    up_module.run(
        environment.Options(
            data_dir=data_dir,
            host=host,
            port=port,
            executor=executor.value if executor else None,
            workers=workers,
            config=config,
        )
    )
