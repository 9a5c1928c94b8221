"""`godocker ls`, `show`, `explain`, `logs` and `wait`: inspect tasks."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from godocker.commands.user import following, selecting
from godocker.commands.user.output import AsJson, Format, Output, print_json, print_rows
from godocker.commands.user.session import REFUSED, client, reported
from godocker_client import Client, Task, errors
from shared.wording import texts

COLUMNS = ("id", "name", "state", "project", "cpu", "ram", "node", "time", "reason")
WIDE = (*COLUMNS, "user", "image", "exit", "submitted", "tags")


def register(app: typer.Typer) -> None:
    for command in (ls, show, explain, logs, wait):
        app.command()(command)


@reported
def ls(
    path: Annotated[
        str | None,
        typer.Argument(metavar="TASK:[PATH]", help="Directory of a task, whose files to list.", show_default=False),
    ] = None,
    ended: Annotated[bool, typer.Option("--ended", "-a", help="Also tasks that are over.")] = False,
    everybody: Annotated[bool, typer.Option("--all-users", "-A", help="Tasks of all users; for admins.")] = False,
    state: Annotated[list[str] | None, typer.Option("--state", help="Only tasks in this state.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only tasks that failed.")] = False,
    tag: Annotated[str | None, typer.Option("--tag", "-t", help="Only tasks with this tag.")] = None,
    project: Annotated[str | None, typer.Option("--project", "-P", help="Only tasks of this project.")] = None,
    name: Annotated[str | None, typer.Option("--name", "-n", help="Only tasks with this in their name.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=10_000, help="Maximum number of tasks that are over.")
    ] = 100,
    columns: Annotated[str | None, typer.Option("--columns", help="Columns, separated by commas.")] = None,
    output: Output = Format.TABLE,
) -> None:
    """
    List your tasks, newest first, or the files of one.

    `godocker ls 12:results` lists the files of task 12 in the directory results.
    """
    if path is not None:
        _list_files(path, output)
        return
    states = {*(state or ()), *(("failed", "killed") if failed else ())}
    shown = _columns(columns, output)
    with client() as made:
        tasks = made.active(everybody=everybody)
        if ended or states & {"done", "failed", "killed", "archived"}:
            tasks = [*tasks, *made.ended(limit=limit, everybody=everybody)]
    found = [
        task
        for task in tasks
        if (not states or task.state in states)
        and (tag is None or tag in task.document["meta"]["tags"])
        and (project is None or task.project == project)
        and (name is None or name.lower() in task.name.lower())
    ]
    print_rows(output, shown, (_row(task) for task in found), (task.document for task in found))


@reported
def show(task: selecting.One, json: AsJson = False) -> None:
    """Show everything about a task."""
    with client() as made:
        found = made.get(selecting.one_id(made, task))
    if json:
        print_json(found.document)
        return
    for word, value in _row(found).items():
        if value not in (None, ""):
            print(f"{word + ':':<11} {_plain(value)}")
    print(f"{'command:':<11} {_plain(found.document['command']['cmd'], keep=chr(10))}")


@reported
def explain(task: selecting.One, json: AsJson = False) -> None:
    """Explain why a task waits, or how it ended. Exits with 5 if it can never run."""
    with client() as made:
        said = made.explain(selecting.one_id(made, task))
    if json:
        print_json(said)
    else:
        for reason in said.get("reasons", ()):
            print(f"{_plain(reason['text'], keep=chr(10))}")
            if reason.get("unblock"):
                print(f"  until {_plain(reason['unblock'])}")
        if said.get("position"):
            print(f"position {said['position']} of {said['pending']} in the queue")
    if said.get("verdict") == "never":
        raise typer.Exit(REFUSED)


@reported
def logs(
    task: selecting.One,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue until the task is over.")] = False,
    err: Annotated[bool, typer.Option("--err", help="Standard error instead of standard output.")] = False,
    both: Annotated[
        bool, typer.Option("--both", help="Both streams, each to the same stream of this command.")
    ] = False,
    lines: Annotated[int | None, typer.Option("--lines", "-n", min=0, help="Only the last lines.")] = None,
    attempt: Annotated[int | None, typer.Option("--attempt", min=1, help="Attempt; default: the last one.")] = None,
) -> None:
    """Print the output of a task."""
    with client() as made:
        task_id = selecting.one_id(made, task)
        if follow:
            following.to_end(
                made, task_id, stream=None if both else "err" if err else "out", tail=lines, attempt=attempt
            )
            return
        for stream in ("out", "err") if both else ("err",) if err else ("out",):
            out = sys.stderr.buffer if both and stream == "err" else sys.stdout.buffer
            out.write(made.log(task_id, stream=stream, tail=lines, attempt=attempt))
            out.flush()


@reported
def wait(
    tasks: selecting.Selectors,
    first: Annotated[bool, typer.Option("--any", help="Return as soon as one of them is over.")] = False,
    timeout: Annotated[float | None, typer.Option("--timeout", min=0, help="Maximum seconds to wait.")] = None,
) -> None:
    """
    Wait until tasks are over. Exits with the exit code of the first that did not end with 0.

    124: the timeout is over. 125: something other than the command ended the task, such as a lost node.
    """
    with client() as made:
        ids = selecting.ids(made, tasks)
        ended = _wait_any(made, ids, timeout) if first else _wait_all(made, ids, timeout)
    for task in ended:
        if task.return_code:
            print(
                f"godocker: task {task.id} {task.state}" + (f": {task.reason}" if task.reason else ""), file=sys.stderr
            )
    raise typer.Exit(next((task.return_code for task in ended if task.return_code), 0))


def _list_files(text: str, output: Format) -> None:
    name, colon, path = text.partition(":")
    if not colon:
        raise errors.InvalidTask(
            f"{text}: write {text}: to list the files of the task; `godocker show {text}` shows it"
        )
    with client() as made:
        entries = made.files(selecting.one_id(made, name), path)
    print_rows(output, ("name", "size", "type"), entries, entries)


def _wait_all(made: Client, ids: Sequence[int], timeout: float | None) -> list[Task]:
    until = None if timeout is None else time.monotonic() + timeout
    return [made.wait(one, timeout=None if until is None else max(0.0, until - time.monotonic())) for one in ids]


def _wait_any(made: Client, ids: Sequence[int], timeout: float | None) -> list[Task]:
    until = None if timeout is None else time.monotonic() + timeout
    while True:
        for one in ids:
            if (task := made.get(one)).is_over:
                return [task]
        if until is not None and time.monotonic() >= until:
            raise errors.TaskTimeout("none of the tasks is over")
        time.sleep(0.5)


def _columns(names: str | None, output: Format) -> Sequence[str]:
    if names is None:
        return WIDE if output in (Format.WIDE, Format.CSV) else COLUMNS
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in chosen if name not in WIDE]:
        raise errors.InvalidTask(f"columns: there is no {unknown[0]}; there are {', '.join(WIDE)}")
    return chosen


def _row(task: Task) -> dict[str, Any]:
    needs = task.document["requirements"]
    return {
        "id": task.id,
        "name": task.name,
        "state": task.state,
        "project": task.project,
        "cpu": needs["cpu"],
        "ram": needs["ram"],
        "node": task.node,
        "time": _duration(task),
        "reason": task.reason,
        "user": task.user,
        "image": task.image,
        "exit": task.exit_code,
        "submitted": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(task.document["date"])),
        "tags": ",".join(task.document["meta"]["tags"]),
    }


def _duration(task: Task) -> str:
    seconds = task.status.get("duration")
    if seconds is None and task.status.get("date_running"):
        seconds = time.time() - task.status["date_running"]
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _plain(value: object, keep: str = "") -> str:

    return texts.printable(str(value), keep=keep)
