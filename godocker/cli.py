"""The command line `godocker`, and how the errors of its commands are printed."""

from __future__ import annotations

import os
import sys
from importlib import metadata
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


def _print_version(wanted: bool) -> None:
    if wanted:
        print(metadata.version("godocker"))
        raise typer.Exit


@app.callback()
def group(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Batch system that runs tasks in Docker containers."""
    # Typer makes a group of an app only where commands were given to it, or this.


def main() -> None:
    """Run a command. What GoDocker raises on purpose becomes one message and exit code 1, no traceback."""
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
        # Whoever read our output has gone; the interpreter must not try to flush it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(message: str) -> None:
    # What another program said may be part of it: a terminal is to print it, not to obey it.
    print(f"godocker: {texts.printable(message)}", file=sys.stderr)
    sys.exit(1)
