"""Output of a task, printed while the task writes it."""

from __future__ import annotations

import sys
import time

import typer

from godocker_client import AttemptEvent, Client, EndEvent, LogEvent

_SECOND = 2.0  #: seconds in which another Ctrl-C counts as the second


def to_end(
    client: Client, task_id: int, *, stream: str | None = None, tail: int | None = None, attempt: int | None = None
) -> int:
    """
    Copy standard output and errors of a task to ours until it is over. Return its exit code, or 125 if it ended for another
    reason than its command.
    """
    last = 0
    for event in client.follow(task_id, stream=stream, tail=tail, attempt=attempt):
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
    """Print how to follow the task again. A second Ctrl-C kills it, after confirmation."""
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
