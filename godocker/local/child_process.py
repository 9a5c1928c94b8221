"""A child process with its log and pid file."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from godocker.local import parent_death

LOG_LIMIT = 20 * 1024 * 1024  #: bytes; a longer log is moved to `.1`, replacing the previous one
TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run, with its log and pid file."""

    name: str
    argv: Sequence[str]
    log: Path | None = None  #: None: inherit our standard output and error
    pid_file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    pass_fds: Sequence[int] = ()
    reloads: bool = False  #: reloads its settings on SIGHUP


class Child:
    """A program that may be running. If started from the main thread, it gets SIGTERM whenever our process ends."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the program. Raises OSError."""
        program = self.program
        argv = list(program.argv)
        if threading.current_thread() is threading.main_thread():
            # The signal is sent when the forking thread ends, so a worker thread would end the child early.
            argv = [sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid()), *argv]
        with _open_log(program.log) as log, _hangup_blocked() if program.reloads else contextlib.nullcontext():
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(program.environment),
                pass_fds=program.pass_fds,
                # Outside the terminal's process group: Ctrl-C reaches only us, and we stop the children in order.
                start_new_session=True,
            )
        if program.pid_file is not None:
            _write_pid(program.pid_file, self._process.pid)

    def exit_status(self) -> int | None:
        """Return the exit status (negative: ended by that signal); None if running or not started."""
        return self._process.poll() if self._process else None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process if it is running."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self, grace: float) -> int | None:
        """Send SIGTERM, and SIGKILL after `grace` seconds. Return the exit status and remove the pid file."""
        if self._process is None:
            return None
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()
        self.forget()
        return self._process.returncode

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def bound_log(self) -> None:
        """Truncate the log if it is too long, keeping its content as `.1`. Raises OSError."""
        path = self.program.log
        if path is None or not path.exists() or path.stat().st_size <= LOG_LIMIT:
            return
        # The process keeps the file open and appends to it. What it writes between copy and truncation is lost.
        draft = path.with_name(f"{path.name}.new")
        shutil.copyfile(path, draft)
        os.truncate(path, 0)
        draft.replace(_older(path))

    def forget(self) -> None:
        if self.program.pid_file is not None:
            self.program.pid_file.unlink(missing_ok=True)


@contextmanager
def _hangup_blocked() -> Iterator[None]:
    """
    Block SIGHUP in children forked in this block until they handle it (`shared.config.live.listen`); before that, it would kill
    them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def tail(log: Path | None, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log; empty if there is no log."""
    if log is None:
        return ""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16384))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def _write_pid(path: Path, pid: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new")
    draft.write_text(f"{pid}\n")
    draft.replace(path)  # atomic: a reader sees the old pid or the new one


def _open_log(path: Path | None) -> contextlib.AbstractContextManager[BinaryIO | None]:
    if path is None:
        return contextlib.nullcontext()
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT:
            path.replace(_older(path))
    return path.open("ab")


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".1")
