"""`godocker kill`, `suspend`, `resume`, `release`, `archive` and `rm`: act on tasks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from godocker.commands.user import selecting
from godocker.commands.user.session import FAILURE, client, exit_code, print_error, reported
from godocker_client import Client, errors

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Action = Callable[[Client, int], None]


def register(app: typer.Typer) -> None:
    for command in (kill, suspend, resume, release, archive, rm):
        app.command()(command)


@reported
def kill(tasks: selecting.Selectors, yes: Yes = False) -> None:
    """Kill tasks."""
    _each(tasks, Client.kill, "Kill", yes=yes)


@reported
def suspend(tasks: selecting.Selectors, yes: Yes = False) -> None:
    """Suspend running tasks."""
    _each(tasks, Client.suspend, "Suspend", yes=yes)


@reported
def resume(tasks: selecting.Selectors, yes: Yes = False) -> None:
    """Resume suspended tasks."""
    _each(tasks, Client.resume, "Resume", yes=yes)


@reported
def release(tasks: selecting.Selectors, yes: Yes = False) -> None:
    """Release held tasks."""
    _each(tasks, Client.release, "Release", yes=yes)


@reported
def archive(tasks: selecting.Selectors, yes: Yes = False) -> None:
    """Archive tasks that are over: deletes their files, keeps their records."""
    _each(tasks, Client.archive, "Delete the files of", yes=yes)


@reported
def rm(tasks: selecting.Selectors, yes: Yes = False) -> None:
    """Delete tasks that are over, with their files and records."""
    _each(tasks, Client.delete, "Delete", yes=yes)


def _each(texts: Sequence[str], action: Action, verb: str, *, yes: bool) -> None:
    """Apply an action to each task. A failure is reported and does not stop the others."""
    failed: list[errors.ApiError] = []
    with client() as made:
        ids = selecting.ids(made, texts)
        if len(ids) > 1 and not yes:
            if not sys.stdin.isatty():
                raise errors.InvalidTask(f"{len(ids)} tasks: confirm with --yes")
            typer.confirm(f"{verb} {len(ids)} tasks?", abort=True, err=True)
        for task_id in ids:
            try:
                action(made, task_id)
            except errors.ApiError as error:
                print_error(error)
                failed.append(error)
    if failed:
        raise typer.Exit(exit_code(failed[0]) if len(ids) == 1 else FAILURE)
