"""`godocker cp` and `share`: files of tasks, and personal storage."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from godocker.commands.user import selecting
from godocker.commands.user.session import client, reported
from godocker_client import Client, errors

_PIECE = 256 * 1024
ME = "me"


def register(app: typer.Typer) -> None:
    for command in (cp, share):
        app.command()(command)


@reported
def cp(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="TASK:PATH, or a local file.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A local path, or me:PATH (personal storage).")],
) -> None:
    """Copy a file of a task here, or a local file into your personal storage."""
    with client() as made:
        if target.startswith(f"{ME}:"):
            _upload(made, Path(source), target.partition(":")[2])
        elif ":" in source:
            name, _, path = source.partition(":")
            _download(made, selecting.one_id(made, name), path, Path(target))
        else:
            raise errors.InvalidTask("copy TASK:PATH to a local path, or a local file to me:PATH")


@reported
def share(task: selecting.One) -> None:
    """Share a task and its files; prints the token that opens it."""
    with client() as made:
        said = made.document(f"task/{selecting.one_id(made, task)}/share")
    print(said["token"] if isinstance(said, dict) and "token" in said else said)


def _download(made: Client, task_id: int, path: str, target: Path) -> None:
    if target.is_dir():
        target = target / Path(path).name
    draft = target.with_name(f"{target.name}.part")
    with draft.open("wb") as out:
        for piece in _shown(made.download(task_id, path), str(target)):
            out.write(piece)
    draft.replace(target)


def _upload(made: Client, source: Path, path: str) -> None:
    user = made.session.user
    if user is None:
        raise errors.InvalidTask("me: is known after `godocker login` only")
    name = path if path and not path.endswith("/") else f"{path}{source.name}"
    try:
        with source.open("rb") as file:
            made.upload(user, name, _shown(iter(lambda: file.read(_PIECE), b""), name))
    except OSError as error:
        raise errors.ClientError(f"{source}: {error.strerror}") from error


def _shown(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Yield the pieces, with a progress bar on standard error if that is a terminal."""
    if not sys.stderr.isatty():
        yield from pieces
        return
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    with Progress(
        TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn(), console=Console(stderr=True)
    ) as bar:
        transfer = bar.add_task(name, total=None)
        for piece in pieces:
            bar.advance(transfer, len(piece))
            yield piece
