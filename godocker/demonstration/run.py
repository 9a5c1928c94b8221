"""Sequence of the demonstration: start a system, run tasks, report, stop."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console

from godocker.demonstration import launched, runner, show, work
from shared import clock, errors

USER = "demo"
_TASKS_TIMEOUT = 90.0  #: seconds for all tasks to end
_CLEAN_UP_TIMEOUT = 10.0
_POLL = 0.05  #: seconds


def run(*, start_engine: bool) -> bool:
    """
    Start a system, run a few tasks in it, show them, and stop it. Return whether all results were as expected.

    Raises `errors.ConfigurationError` if no system can be started.
    """
    console = Console()
    began = clock.monotonic()
    with runner.choose(start_engine=start_engine) as chosen:
        for remark in chosen.remarks:
            console.print(remark, highlight=False, markup=False)
        console.print("Starting MongoDB, Redis, api, scheduler, watcher and files …", highlight=False)
        with launched.system(chosen.executor, chosen.environment) as system:
            ready = clock.monotonic() - began
            console.print(f"The system is ready at {system.base_url} after {ready:.1f} s.", highlight=False)
            tracked = work.tasks()
            session = work.Session(system.base_url, USER, system.add_user(USER))
            try:
                _follow(session, tracked, console)
            finally:
                _kill_remaining(session, tracked)
                session.close()
            as_expected = _report(tracked, console, chosen.executor)
            console.print("Stopping the system …", highlight=False)
    console.print(f"Done in {clock.monotonic() - began:.1f} s; nothing is left behind.", highlight=False)
    return as_expected


def _follow(session: work.Session, tracked: Sequence[work.Tracked], console: Console) -> None:
    """Submit all tasks and follow them until they are over or the time limit is reached."""
    for task in tracked:
        session.send(task, runner.IMAGE)
    deadline = clock.monotonic() + _TASKS_TIMEOUT
    with show.View(console, tracked) as view:
        while not all(task.is_over for task in tracked) and clock.monotonic() < deadline:
            session.follow(tracked)
            view.update()
            time.sleep(_POLL)


def _kill_remaining(session: work.Session, tracked: Sequence[work.Tracked]) -> None:
    """Kill tasks that still run, for example after Ctrl-C: tasks outlive the system that started them."""
    try:
        session.kill_all(tracked)
        deadline = clock.monotonic() + _CLEAN_UP_TIMEOUT
        while not all(task.is_over or not task.id for task in tracked) and clock.monotonic() < deadline:
            session.follow(tracked)
            time.sleep(_POLL)
    except httpx.HTTPError as error:
        print(f"demo: tasks could not be killed: {error}", file=sys.stderr)


def _report(tracked: Sequence[work.Tracked], console: Console, executor: str) -> bool:
    first = tracked[0]
    if path := first.log_path:
        console.print(f"\nContent of {path}:", highlight=False, soft_wrap=True)
        console.print(_read(Path(path)), style="bold", highlight=False, markup=False)
    names = {"docker": "Docker containers", "process": "processes of this machine"}
    console.print(f"The tasks ran as {names[executor]} (executor {executor}).", highlight=False)
    for line in _figures(tracked):
        console.print(line, highlight=False)
    failed = [task for task in tracked if not task.is_as_expected]
    for task in failed:
        ended = f"ended with {task.status.get('exitcode')}" if task.is_over else "did not end"
        print(f"demo: the task that {task.name} {ended}; expected {task.expected}", file=sys.stderr)
    return not failed


def _figures(tracked: Sequence[work.Tracked]) -> list[str]:
    first = tracked[0]
    killed = next(task for task in tracked if task.kill)
    burst = [task for task in tracked if task.name.startswith("burst")]
    lines = []
    if first.over_at:
        lines.append(f"First task, from submit to end: {first.over_at - first.sent_at:.2f} s")
    if killed.kill_at and killed.over_at:
        lines.append(f"Kill, from request to end: {killed.over_at - killed.kill_at:.2f} s")
    ends = [task.over_at for task in burst if task.over_at]
    if len(ends) == len(burst):
        took = max(ends) - min(task.sent_at for task in burst)
        lines.append(f"Burst of {len(burst)} tasks: {took:.2f} s, {len(burst) / took:.1f} tasks per second")
    return lines


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").rstrip()
    except OSError as error:
        raise errors.StorageError(f"{path} cannot be read: {error.strerror}") from None
