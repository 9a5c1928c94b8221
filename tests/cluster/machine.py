"""A machine inside this one: its own namespaces, switched on and off with everything that runs in it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.cluster import init
from tests.cluster.commands import ClusterError

END_TIMEOUT = 30.0  #: seconds for everything in it to end


class Machine:
    """
    A machine, off at first. Any process may switch it on or off: its state is in its directory. It is switched off when its
    owner, a process, ends.
    """

    def __init__(self, name: str, directory: Path, *, owner: int) -> None:
        self.name = name
        self._directory = directory
        self._owner = owner
        self._file = directory / "machine.pid"
        self._started: subprocess.Popen[str] | None = None

    def switch_on(self) -> None:
        """Boot the machine. Raises `ClusterError`."""
        if self.first() is not None:
            raise ClusterError(f"{self.name} is on already")
        self._collect()
        argv = [sys.executable, "-I", "-S", init.__file__, str(self._owner), self.name, str(self._directory)]
        with (self._directory / "machine.log").open("wb") as log:
            self._started = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ctrl-C is for the owner, who switches off in order.
                start_new_session=True,
            )
        assert self._started.stdout is not None
        with self._started.stdout as stdout:
            line = stdout.readline()
        if not line:
            self._started.wait(END_TIMEOUT)
            self._started = None
            words = (self._directory / "machine.log").read_text(errors="replace").strip()
            raise ClusterError(f"{self.name} could not be switched on: {words or 'it said nothing'}")
        self._file.write_text(line)

    def switch_off(self) -> None:
        """Kill everything in it at once, as a power failure would. Does nothing if it is off."""
        first = self.first()
        if first is not None:
            first.kill()
            try:
                # It ends after everything in it.
                first.wait(END_TIMEOUT)
            except psutil.TimeoutExpired:
                raise ClusterError(f"{self.name} does not end: something in it cannot be killed") from None
        self._file.unlink(missing_ok=True)
        self._collect()

    def first(self) -> psutil.Process | None:
        """Its first process; None while it is off."""
        try:
            process = psutil.Process(int(self._file.read_text()))
            ours = str(self._directory) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, psutil.Error):
            return None
        return process if ours else None

    @property
    def pid(self) -> int:
        """The id of its first process. Raises `ClusterError` while it is off."""
        first = self.first()
        if first is None:
            raise ClusterError(f"{self.name} is off")
        return first.pid

    def inside(self, *, network_alone: bool = False) -> list[str]:
        """Return the prefix of a command that runs in it."""
        spaces = ["--net"] if network_alone else ["--mount", "--uts", "--ipc", "--net", "--pid"]
        return ["nsenter", "--target", str(self.pid), *spaces, "--"]

    def run_detached(self, argv: Sequence[str], *, log: Path) -> None:
        """Start a program that belongs to the machine: a child of its first process, with output to `log`."""
        # The shell ends at once and leaves it to the first process. Nothing is pasted into its text.
        script = 'setsid "$@" </dev/null >>"$0" 2>&1 &'
        command = [*self.inside(), "sh", "-c", script, str(log), *argv]
        subprocess.run(command, check=True, timeout=END_TIMEOUT, stdin=subprocess.DEVNULL)

    def processes(self, name: str | None = None) -> list[psutil.Process]:
        """
        Return the processes in it, shims included, without those in its containers (see `Host.living`); with `name`, only
        those called so.
        """
        first = self.first()
        if first is None:
            return []
        space = os.stat(f"/proc/{first.pid}/ns/pid").st_ino
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(OSError, psutil.Error):
                if os.stat(f"/proc/{process.pid}/ns/pid").st_ino != space or process.pid == first.pid:
                    continue
                if process.status() != psutil.STATUS_ZOMBIE and name in (None, process.name()):
                    found.append(process)
        return found

    def _collect(self) -> None:
        if self._started is not None:
            self._started.wait(END_TIMEOUT)
            self._started = None
