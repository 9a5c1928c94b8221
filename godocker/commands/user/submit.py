"""`godocker submit` and `godocker run`: submit a task, and follow it to its end."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from godocker.commands.user import following
from godocker.commands.user.output import print_json
from godocker.commands.user.session import INTERRUPTED, REFUSED, client, reported
from godocker_client import Client, directives, documents, errors

ALLOWED = {"allow_extra_args": True, "ignore_unknown_options": False, "allow_interspersed_args": False}

Words = dict[str, Any]


def register(app: typer.Typer) -> None:
    app.command(context_settings=ALLOWED)(submit)
    app.command(context_settings=ALLOWED)(run)


Image = Annotated[str | None, typer.Option("--image", "-i", help="Docker image.")]
Cpu = Annotated[float | None, typer.Option("--cpu", "-c", help="Cores.")]
Ram = Annotated[float | None, typer.Option("--ram", "-m", help="Memory in GB.")]
Gpus = Annotated[int | None, typer.Option("--gpus", "-g", help="Number of GPUs.")]
Array = Annotated[str | None, typer.Option("--array", "-a", help="Indices: 100, 1:100, 0:20:5 or 3,7-9.")]
After = Annotated[list[int] | None, typer.Option("--after", help="Start once this task is over; may be repeated.")]
AfterOk = Annotated[list[int] | None, typer.Option("--afterok", help="Start once this task ended with exit code 0.")]
Project = Annotated[str | None, typer.Option("--project", "-P", help="Project that the usage counts for.")]
Tag = Annotated[list[str] | None, typer.Option("--tag", "-t", help="Tag; may be repeated.")]
Volume = Annotated[list[str] | None, typer.Option("--volume", "-v", help="Configured volume: NAME or NAME:rw.")]
Label = Annotated[list[str] | None, typer.Option("--label", "-l", help="Label of the node, like storage==ssd.")]
Time = Annotated[str | None, typer.Option("--time", help="Longest run time, like 30m, 12h or 6d.")]
Port = Annotated[list[int] | None, typer.Option("--port", "-p", help="Port of the container to publish.")]
Name = Annotated[str | None, typer.Option("--name", "-n", help="Name of the task.")]
Mail = Annotated[bool | None, typer.Option("--mail/--no-mail", help="Send mails at the start and the end.")]
Hold = Annotated[bool | None, typer.Option("--hold", help="Hold the task until `godocker release`.")]
Script = Annotated[
    Path | None, typer.Option("--script", "-s", help="Script to run; its #GODOCKER lines are options.", exists=True)
]
Key = Annotated[
    str | None, typer.Option("--key", help="Idempotency key: submitting again with it creates nothing new.")
]


@reported
def submit(
    context: typer.Context,
    image: Image = None,
    cpu: Cpu = None,
    ram: Ram = None,
    gpus: Gpus = None,
    array: Array = None,
    after: After = None,
    afterok: AfterOk = None,
    project: Project = None,
    tag: Tag = None,
    volume: Volume = None,
    label: Label = None,
    time: Time = None,
    port: Port = None,
    name: Name = None,
    mail: Mail = None,
    hold: Hold = None,
    script: Script = None,
    key: Key = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the task, and print what would happen.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the task is over, and exit with its exit code.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print the output of the task until it is over.")
    ] = False,
) -> None:
    """
    Send a task and print its id.

    The command comes after the options: `godocker submit -i busybox -- echo hello`. Instead of a command, give a task file
    (`godocker submit task.yml`, in YAML or JSON) or a script (`--script job.sh`).
    """
    words = _words(context)
    document, arguments = _document(context.args, script, words)
    del arguments
    with client() as made:
        if dry_run:
            _show_dry_run(made, document)
            return
        task_id = made.submit_document(document, key=key)
        print(task_id, flush=True)
        if follow:
            raise typer.Exit(following.to_end(made, task_id))
        if wait:
            raise typer.Exit(made.wait(task_id).return_code)


@reported
def run(
    context: typer.Context,
    image: Image = None,
    cpu: Cpu = None,
    ram: Ram = None,
    gpus: Gpus = None,
    project: Project = None,
    volume: Volume = None,
    label: Label = None,
    time: Time = None,
    name: Name = None,
    script: Script = None,
) -> None:
    """
    Send a task, print its output while it runs, and exit with its exit code.

    Ctrl-C leaves the task running and tells how to come back to it; a second one within two seconds kills it.
    """
    document, _ = _document(context.args, script, _words(context))
    with client() as made:
        task_id = made.submit_document(document)
        print(f"task {task_id}", file=sys.stderr)
        try:
            code = following.to_end(made, task_id)
        except KeyboardInterrupt:
            following.detach(made, task_id)
            raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(code)


_NAMES = {"tag": "tags", "volume": "volumes", "label": "labels", "port": "ports"}
_NOT_WORDS = frozenset({"script", "key", "dry_run", "wait", "follow"})


def _words(context: typer.Context) -> Words:
    """Return the options that describe a task, by the names of `documents`."""
    return {
        _NAMES.get(option, option): list(value) if isinstance(value, tuple | list) else value
        for option, value in context.params.items()
        if option not in _NOT_WORDS and value not in (None, [], ())
    }


def _document(arguments: list[str], script: Path | None, words: Words) -> tuple[Words, list[str]]:
    if script is not None:
        content = _text(script)
        return documents.build(**{**_of_directives(content), **words, "command": content}), arguments
    if len(arguments) == 1 and arguments[0].endswith((".yml", ".yaml", ".json")):
        return documents.from_file(_loaded(Path(arguments[0])), **words), arguments
    if not arguments:
        raise errors.InvalidTask("command: is missing; write it after --, or name a script with --script")
    # One word is a complete command line; several are a command with its arguments.
    command = arguments[0] if len(arguments) == 1 else shlex.join(arguments)
    return documents.build(**{**words, "command": command}), arguments


def _of_directives(script: str) -> Words:
    """Parse the #GODOCKER lines of a script as options of `submit`."""
    options = directives.options_of(script)
    if not options:
        return {}
    app = typer.Typer()
    app.command(context_settings=ALLOWED)(submit)
    with typer.main.get_command(app).make_context("#GODOCKER", options, resilient_parsing=False) as context:
        if context.args:
            raise errors.InvalidTask(f"#GODOCKER lines hold options only, not {context.args[0]}")
        return _words(context)  # type: ignore[arg-type]


def _loaded(file: Path) -> Any:
    try:
        return yaml.safe_load(_text(file))  # JSON is YAML
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise errors.InvalidTask(f"{file}: {where}{getattr(error, 'problem', None) or 'is not YAML or JSON'}") from None


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise errors.InvalidTask(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise errors.InvalidTask(f"{file}: is not text in UTF-8") from None


def _show_dry_run(made: Client, document: Words) -> None:
    said = made.dry_run(document)
    print_json(said)
    if said.get("verdict") == "never":
        raise typer.Exit(REFUSED)
