"""Entry point of the command line `godocker`: runs a command and prints its errors."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from godocker.commands.common import registry
from shared import errors
from shared.wording import texts

app = typer.Typer(
    name="godocker",
    cls=registry.Group,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib import metadata  # a fifth of the import time of `--help`, which does not need it

        print(metadata.version("godocker"))
        raise typer.Exit


@app.callback()
def group(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Batch system that runs tasks in Docker containers."""
    # Without a callback, Typer makes a group only of an app with registered commands.


def main() -> None:
    """Run a command. Print errors of GoDocker as one message without a traceback, and exit with 1."""
    try:
        app()
    except errors.NodeUnavailable as error:
        _fail(str(error))
    except errors.Unavailable as error:
        _fail(
            f"{error}. Is the system running (godocker up)? To use a different system, set --data-dir or GODOCKER_MONGO_URL"
        )
    except errors.GoDockerError as error:
        _fail(str(error))
    except BrokenPipeError:
        # The reader of our output has gone; the interpreter must not flush to it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(message: str) -> None:
    # The message may quote another program: escape sequences must not reach the terminal.
    print(f"godocker: {texts.printable(message)}", file=sys.stderr)
    sys.exit(1)
