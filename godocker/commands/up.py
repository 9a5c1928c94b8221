"""`godocker up`: the whole system on this machine."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from godocker import directory, surroundings
from godocker import up as up_module
from godocker.commands import options
from shared import logs


class ExecutorChoice(StrEnum):
    AUTO = "auto"
    DOCKER = "docker"
    PROCESS = "process"
    SIMULATED = "simulated"


def register(app: typer.Typer) -> None:
    app.command()(up)


def up(
    data_dir: Annotated[Path, typer.Option(help="Keeps everything: stores, logs, secrets.")] = directory.DEFAULT,
    host: Annotated[str | None, typer.Option(help="Where the gateway listens.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, show_default="6543")] = None,
    executor: Annotated[ExecutorChoice | None, typer.Option(help="What runs tasks.", show_default="auto")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes of the gateway.")] = 1,
    config: options.Config = None,
) -> None:
    """Run the whole system: stores where none are configured, api, scheduler, watcher, files. Ctrl-C stops it."""
    logs.configure("up")
    up_module.run(
        surroundings.Options(
            data_dir=data_dir,
            host=host,
            port=port,
            executor=executor.value if executor else None,
            workers=workers,
            config=config,
        )
    )
