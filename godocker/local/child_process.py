"""A child process of ours: its log, its pid file, its end."""

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

LOG_LIMIT = 20 * 1024 * 1024  #: bytes; what a log has beyond that goes to `.1`, whose content is lost with that
TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Program:
    """What to run and where it leaves its traces."""

    name: str
    argv: Sequence[str]
    log: Path | None = None  #: None: it writes where we do
    pid_file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    pass_fds: Sequence[int] = ()
    reloads: bool = False  #: reads its settings anew on SIGHUP


class Child:
    """A program, running or not. Started from the main thread, it gets SIGTERM when we end, however we end."""

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
            # The tie is to the thread that forks: from a worker thread it would end the child with that thread.
            argv = [sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid()), *argv]
        with _open_log(program.log) as log, _hangup_waits() if program.reloads else contextlib.nullcontext():
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(program.environment),
                pass_fds=program.pass_fds,
                # Out of the terminal's group: Ctrl-C is for us, and we end the children in order.
                start_new_session=True,
            )
        if program.pid_file is not None:
            _write_pid(program.pid_file, self._process.pid)

    def exit_status(self) -> int | None:
        """How it ended (negative: by that signal); None while it runs or before it was started."""
        return self._process.poll() if self._process else None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self, grace: float) -> int | None:
        """SIGTERM, up to `grace` seconds, SIGKILL. Returns how it ended, and forgets the pid file."""
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
        """SIGKILL, and wait for the end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)

    def bound_log(self) -> None:
        """Keep its log from growing for ever. Raises OSError."""
        path = self.program.log
        if path is None or not path.exists() or path.stat().st_size <= LOG_LIMIT:
            return
        # The process has the file open and goes on to write to it, at its end wherever that is. What it writes between the two
        # calls is lost.
        draft = path.with_name(f"{path.name}.new")
        shutil.copyfile(path, draft)
        os.truncate(path, 0)
        draft.replace(_older(path))

    def forget(self) -> None:
        if self.program.pid_file is not None:
            self.program.pid_file.unlink(missing_ok=True)


@contextmanager
def _hangup_waits() -> Iterator[None]:
    """
    Block SIGHUP in children that are forked meanwhile until they handle it (`shared.config.live.listen`): before that it would
    kill them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def tail(log: Path | None, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, for a message; empty where there is none."""
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
    draft.replace(path)  # whoever reads meanwhile sees the old number or the new one, never none


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
