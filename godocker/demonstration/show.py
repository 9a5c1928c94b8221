"""Progress of the demonstration: a live table on a terminal, otherwise a line every second."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from godocker.commands.common import tables
from godocker.demonstration.work import Tracked
from shared import clock

_INTERVAL = 1.0  #: seconds between two plain lines


class View:
    """Display of the tasks on a console."""

    def __init__(self, console: Console, tracked: Sequence[Tracked]) -> None:
        self._console = console
        self._tracked = tracked
        self._live = Live(console=console, refresh_per_second=10, transient=True) if console.is_terminal else None
        self._printed_at = 0.0

    def __enter__(self) -> View:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        if error is None:
            self._console.print(table(self._tracked))

    def update(self) -> None:
        """Show the current state."""
        if self._live:
            self._live.update(table(self._tracked))
        elif clock.monotonic() - self._printed_at > _INTERVAL:
            self._printed_at = clock.monotonic()
            over = sum(task.is_over for task in self._tracked)
            running = sum(task.status.get("primary") == "running" for task in self._tracked)
            self._console.print(f"{over} of {len(self._tracked)} tasks are over, {running} running")


def table(tracked: Sequence[Tracked]) -> Table:
    """Return a table with one row per single task and one row with a bar for the burst."""
    shown = Table("task", "id", "status", "exit", "reason", "progress")
    single = [task for task in tracked if not task.name.startswith("burst")]
    burst = [task for task in tracked if task.name.startswith("burst")]
    for task in single:
        code = task.status.get("exitcode")
        shown.add_row(
            task.name,
            str(task.id or ""),
            _status(task),
            "" if code is None else str(code),
            tables.plain(task.status.get("reason")),
            _result(task),
        )
    over = sum(task.is_over for task in burst)
    codes = {task.status.get("exitcode") for task in burst if task.is_over}
    bar = ProgressBar(total=len(burst), completed=over, width=20)
    state = f"{over} of {len(burst)} over"
    shown.add_row("burst", _ids(burst), state, " ".join(sorted(map(str, codes))), "", bar)
    return shown


def _status(task: Tracked) -> str:
    words = [task.status.get("primary") or "sent", task.status.get("secondary")]
    return ", ".join(word for word in words if word)


def _ids(burst: Sequence[Tracked]) -> str:
    ids = [task.id for task in burst if task.id]
    return f"{min(ids)}…{max(ids)}" if ids else ""


def _result(task: Tracked) -> str:
    if not task.is_over:
        return ""
    return "as expected" if task.is_as_expected else f"expected {task.expected}"
