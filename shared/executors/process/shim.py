"""
The shim: one process per run, for the whole of its life, the parent of the command and of all orphans of the run. It takes the
attempt, waits for the command, ends remaining processes, and records the end.

It handles SIGTERM (send SIGTERM to all of the run, once) and SIGUSR1 (kill all of it now), and exits once no process of
the run is left.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from shared.executors.process import command, descendants, kernel
from shared.executors.process.ending import Ending, Room
from shared.executors.process.request import BEGAN, LATE, REFUSED, TAKEN, Request

_NOTHING = 0  #: the standard input
_HEARD = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1)
_LOOK = 0.05  #: seconds between two checks for remaining processes, where no signal reports changes
_AGAIN = 0.002  #: the same while they are being killed


def run(request: Request, *, records: int, answers: int, oom_score: int | None) -> None:
    """
    Act as the shim of a run. `records` is a descriptor of the records' directory, `answers` of the pipe for the answer. Never
    returns.
    """
    status = 1  # tells the fork server that the run has lost its shim
    try:
        os.setsid()
        kernel.become_subreaper()
        kernel.set_name(request.name)
        _Shim(request, records, answers, oom_score).run()
        status = 0
    finally:
        os._exit(status)


def _answer(answers: int, request: Request, word: str, detail: str = "") -> None:
    with contextlib.suppress(OSError):  # the executor is gone; another reads the record
        os.write(answers, f"{request.number} {word} {detail}\n".encode())


class _Shim:
    def __init__(self, request: Request, records: int, answers: int, oom_score: int | None) -> None:
        self._request = request
        self._records = records
        self._answers = answers
        self._oom_score = oom_score

    def run(self) -> None:
        request = self._request
        step = "directory"
        try:
            home = os.open(request.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            step = "process"
            child, go, report = self._fork(home)
            step = "record"
            room = Room(request, self._records, home, child)
            taken = room.take()
        except OSError as error:
            _answer(self._answers, request, REFUSED, f"{step} {error.errno}")
            return
        if not taken:
            _answer(self._answers, request, TAKEN)
            return
        if time.monotonic() > request.until:
            room.give_back()
            _answer(self._answers, request, LATE)
            return
        ending = Ending()
        if room.is_second():
            ending.error = ("second", 0)
        else:
            room.leave_beginning()
            os.write(go, b"g")
        os.close(go)
        _answer(self._answers, request, BEGAN, repr(room.began_at))
        # The executor reads until all writers have closed the pipe: we do so now.
        os.dup2(_NOTHING, self._answers)
        _Watch(child, report, ending, request).until_nothing_lives()
        room.write(ending)

    def _fork(self, home: int) -> tuple[int, int, int]:
        """Fork the process that becomes the command. Return its pid, the pipe that lets it continue, and that of its report."""
        go_out, go_in = os.pipe()
        report_out, report_in = os.pipe()
        child = os.fork()
        if not child:
            os.close(go_in)
            command.run(self._request, home=home, go=go_out, report=report_in, oom_score=self._oom_score)
        os.close(go_out)
        os.close(report_in)
        return child, go_in, report_out


class _Watch:
    """Waits for the command and for the processes that it leaves."""

    def __init__(self, child: int, report: int, ending: Ending, request: Request) -> None:
        self._me = os.getpid()
        self._child = child
        self._report = report
        self._ending = ending
        self._request = request
        self._outputs: frozenset[tuple[int, int]] = frozenset()
        self._alive = True  #: the command
        self._killing = False
        self._until = 0.0  #: on the monotonic clock: processes left by then are killed

    def until_nothing_lives(self) -> None:
        while self._collect():
            if not self._alive and not self._killing:
                # Processes that do not hold the output are not waited for. Once told to end, all have their time to do so.
                waits = self._ending.told or self._holds_output()
                self._killing = not waits or time.monotonic() > self._until
            if self._killing:
                descendants.kill_all(self._me)
            self._handle_signal()

    def _collect(self) -> bool:
        """Collect ended processes. Return False once none is left: all of the run are, or become, our children."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._ending.cpu += usage.ru_utime + usage.ru_stime
            if pid == self._child:
                self._alive = False
                self._ending.note(status, time.time())
                self._read_report()
                patience = self._request.patience if self._ending.told else self._request.drain
                self._until = time.monotonic() + patience

    def _read_report(self) -> None:
        """Read the report of the command's last steps: only now is it complete, as the process may have been stopped."""
        for line in os.read(self._report, 4096).decode().splitlines():
            word, *details = line.split()
            if word == "output":
                pairs = (detail.split(":") for detail in details)
                self._outputs = frozenset((int(device), int(inode)) for device, inode in pairs)
            elif self._ending.error is None:
                self._ending.error = (details[0], int(details[1]))

    def _handle_signal(self) -> None:
        number: int = signal.SIGCHLD
        if self._alive and not self._killing:
            number = signal.sigwait(_HEARD)
        elif found := signal.sigtimedwait(_HEARD, _AGAIN if self._killing else _LOOK):
            number = found.si_signo
        if number == signal.SIGTERM:
            self._terminate()
        elif number == signal.SIGUSR1:
            self._ending.killed = self._ending.killed or self._alive
            self._killing = True

    def _terminate(self) -> None:
        """
        Send SIGTERM to every process of the run once. All are stopped first, so that none is forked meanwhile and missed, and
        processes that a trap starts to clean up get no signal.
        """
        if self._ending.told:
            return
        self._ending.told = True
        self._until = time.monotonic() + self._request.patience
        descendants.stop_all(self._me)
        # Children continue before their parents: when a parent exits, the kernel sends SIGHUP to groups with stopped processes.
        stopped = reversed(descendants.below(self._me).items())
        for pid, start in stopped:
            descendants.send(pid, start, signal.SIGTERM)
            descendants.send(pid, start, signal.SIGCONT)

    def _holds_output(self) -> bool:
        return any(descendants.holds(pid, self._outputs) for pid in descendants.below(self._me))
