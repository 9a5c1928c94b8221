"""`godocker api|scheduler|watcher|files`: run one service in the foreground."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Annotated

import typer

from godocker.commands.common import options
from godocker.local import gateway_workers
from shared import settings as settings_module
from shared.observe import logs


def register(app: typer.Typer) -> None:
    app.command()(api)
    app.command()(scheduler)
    app.command()(watcher)
    app.command()(files)


def api(
    config: options.Config = None,
    data_dir: options.DataDir = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, metavar="NUMBER", help="Number of gateway processes that share the port.")
    ] = 1,
    fd: Annotated[
        int | None, typer.Option(hidden=True, help="Descriptor of a listening socket opened by the parent.")
    ] = None,
) -> None:
    """Run the gateway, which serves the Web API."""
    settings = options.load(config, data_dir)
    settings_module.check_secrets(settings)
    logs.configure("api", level=settings.log_level)
    if workers > 1:
        gateway_workers.run(settings, workers)
    else:
        _entry("api")(settings, fd)


def scheduler(config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Run the scheduler, which decides what runs next and where."""
    _run("scheduler", config, data_dir)


def watcher(config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Run the watcher, which follows running tasks and carries out kills."""
    _run("watcher", config, data_dir)


def files(config: options.Config = None, data_dir: options.DataDir = None) -> None:
    """Run the file service, which transfers the files of tasks and users."""
    _run("files", config, data_dir)


def _run(service: str, config: options.Config, data_dir: options.DataDir) -> None:
    settings = options.load(config, data_dir)
    settings_module.check_secrets(settings)
    logs.configure(service, level=settings.log_level)
    _entry(service)(settings)


def _entry(service: str) -> Callable[..., None]:
    # Imported late, by name: other commands do not need a service's drivers and web framework.
    run: Callable[..., None] = importlib.import_module(f"services.{service}.__main__").run
    return run
