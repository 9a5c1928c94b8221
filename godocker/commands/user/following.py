"""Print the output of a task while it is written."""

from __future__ import annotations

import sys
import time

import typer

from godocker_client import AttemptEvent, Client, EndEvent, LogEvent

_SECOND = 2.0  #: seconds in which a second Ctrl-C is one


def to_end(client: Client, task_id: int, *, stream: str | None = None, tail: int | None = None) -> int:
    """
    Print standard output and errors of a task to ours until it is over. Returns its exit code, or 125 where its command had no
    part in its end.
    """
    last = 0
    for event in client.follow(task_id, stream=stream, tail=tail):
        match event:
            case LogEvent():
                out = sys.stderr.buffer if event.stream == "err" and stream is None else sys.stdout.buffer
                out.write(event.content)
                out.flush()
            case AttemptEvent():
                if last:
                    print(f"godocker: attempt {event.attempt} begins on {event.node}", file=sys.stderr)
                last = event.attempt
            case EndEvent():
                if event.reason:
                    print(f"godocker: {event.reason}", file=sys.stderr)
                return 125 if event.exit_code is None else event.exit_code
    return 125


def detach(client: Client, task_id: int) -> None:
    """Say how to come back to a task. A second Ctrl-C meanwhile kills it, if that is confirmed."""
    print(
        f"\ngodocker: task {task_id} goes on: `godocker logs -f {task_id}` follows it. Ctrl-C again to kill it",
        file=sys.stderr,
    )
    try:
        time.sleep(_SECOND)
    except KeyboardInterrupt:
        if not sys.stdin.isatty() or typer.confirm(f"Kill task {task_id}?", err=True):
            client.kill(task_id)
            print(f"godocker: task {task_id} is being killed", file=sys.stderr)
