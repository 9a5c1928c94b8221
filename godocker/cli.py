"""The command line `godocker`: its commands, and what becomes of their errors."""

from __future__ import annotations

import os
import sys
from importlib import metadata

import typer

from godocker.commands import backup, demo, doctor, maintenance, node, project, services, stores, token, up, user
from shared import errors

app = typer.Typer(
    name="godocker",
    help="A batch system that runs tasks in Docker containers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
up.register(app)
services.register(app)
app.add_typer(user.app, name="user")
app.add_typer(project.app, name="project")
app.add_typer(token.app, name="token")
app.add_typer(maintenance.app, name="maintenance")
app.add_typer(node.app, name="node")
stores.register(app)
backup.register(app)
doctor.register(app)
demo.register(app)


@app.command()
def version() -> None:
    """Print the version."""
    print(metadata.version("godocker"))


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
