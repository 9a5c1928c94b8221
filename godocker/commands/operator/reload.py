"""`godocker reload`: make a running system read its settings again."""

from __future__ import annotations

import typer

from godocker import configuration, reloading
from godocker.commands.common import options, tables
from godocker.local import data_directory
from shared import errors
from shared.config import reloads


def register(app: typer.Typer) -> None:
    app.command("reload")(reload)


def reload(as_json: tables.AsJson = False, data_dir: options.DataDir = None) -> None:
    """
    Make a running `godocker up` read its settings again, and print the result of each service. Exits with 1 if one refuses.

    With Compose: docker compose kill --signal HUP api scheduler watcher files
    """
    directory = data_directory.DataDirectory(data_dir or data_directory.DEFAULT)
    if not directory.has_environment():
        raise errors.ConfigurationError(
            f"no system was started in {directory.path}: name its directory with --data-dir. With Compose, run "
            "docker compose kill --signal HUP api scheduler watcher files"
        )
    report = configuration.check(None, directory.path)
    if report.problems:
        raise errors.ConfigurationError(
            "nothing was reloaded because the configuration is invalid:\n  " + "\n  ".join(report.problems)
        )
    outcomes = reloading.reload(directory)
    if as_json:
        tables.show_json(
            [{"service": name, "changed": one.changed, "error": one.error} for name, one in outcomes.items()]
        )
    else:
        tables.show(("service", "result"), [(name, _words(one)) for name, one in outcomes.items()])
    if any(one.error for one in outcomes.values()):
        raise typer.Exit(1)


def _words(outcome: reloads.Outcome) -> str:
    if outcome.error:
        return outcome.error
    return f"changed: {', '.join(outcome.changed)}" if outcome.changed else "no changes"
