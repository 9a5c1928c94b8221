"""The command line `godocker`, and what becomes of its commands' errors."""

from __future__ import annotations

import os
import sys

import typer

from godocker.commands import known
from shared import errors

app = typer.Typer(
    name="godocker",
    cls=known.Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def group() -> None:
    """A batch system that runs tasks in Docker containers."""
    # Typer makes a group of an app only where commands were given to it, or this.


def main() -> None:
    """Run a command. What GoDocker raises on purpose becomes one message and exit code 1, no traceback."""
    try:
        app()
    except errors.Unavailable as error:
        print(
            f"godocker: {error}. Is the system running (godocker up)? Another one is meant by --data-dir or GODOCKER_MONGO_URL",
            file=sys.stderr,
        )
        sys.exit(1)
    except errors.GoDockerError as error:
        print(f"godocker: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter must not try to flush it once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
