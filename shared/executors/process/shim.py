"""
The process that stands beside one run from its beginning to its end: the parent of the command, and the heir of all that the run
leaves behind. It takes the attempt, waits for the command, ends what is left, and writes how it ended.

It hears SIGTERM (tell all of the run to end, once) and SIGUSR1 (end all of it now), and ends only when nothing of the run lives.
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
_LOOK = 0.05  #: seconds between two looks at what is left, where no signal tells of it
_AGAIN = 0.002  #: the same for what is being killed


def run(request: Request, *, records: int, answers: int, oom_score: int | None) -> None:
    """
    Be the shim of a run. `records` is a descriptor of the records' directory, `answers` of the pipe that the answer goes to.
    Never returns.
    """
    status = 1  # which tells the fork server that the run has lost its shim
    try:
        os.setsid()
        kernel.become_subreaper()
        kernel.set_name(request.name)
        _Shim(request, records, answers, oom_score).run()
        status = 0
    finally:
        os._exit(status)


def _answer(answers: int, request: Request, word: str, detail: str = "") -> None:
    with contextlib.suppress(OSError):  # the executor is gone; another one reads the record
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
        # The executor reads until nobody can write: from here on that is not us.
        os.dup2(_NOTHING, self._answers)
        _Watch(child, report, ending, request).until_nothing_lives()
        room.write(ending)

    def _fork(self, home: int) -> tuple[int, int, int]:
        """Make the process that becomes the command: its pid, the pipe that lets it go on, and that of its report."""
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
    """Waits for the command, and for all that it leaves behind."""

    def __init__(self, child: int, report: int, ending: Ending, request: Request) -> None:
        self._me = os.getpid()
        self._child = child
        self._report = report
        self._ending = ending
        self._request = request
        self._outputs: frozenset[tuple[int, int]] = frozenset()
        self._alive = True  #: the command
        self._killing = False
        self._until = 0.0  #: on the monotonic clock: what is left by then is ended

    def until_nothing_lives(self) -> None:
        while self._collect():
            if not self._alive and not self._killing:
                # What has let go of the output is nobody's to wait for. Once told to end, all of it has its time to do so.
                waits = self._ending.told or self._holds_output()
                self._killing = not waits or time.monotonic() > self._until
            if self._killing:
                descendants.kill_all(self._me)
            self._hear()

    def _collect(self) -> bool:
        """Collect what has ended. False once there is nothing left: whatever the run made is, or becomes, a child of ours."""
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
        """Of the command before it was one. It is read now that all is written: it may have been stopped on its way."""
        for line in os.read(self._report, 4096).decode().splitlines():
            word, *details = line.split()
            if word == "output":
                pairs = (detail.split(":") for detail in details)
                self._outputs = frozenset((int(device), int(inode)) for device, inode in pairs)
            elif self._ending.error is None:
                self._ending.error = (details[0], int(details[1]))

    def _hear(self) -> None:
        number: int = signal.SIGCHLD
        if self._alive and not self._killing:
            number = signal.sigwait(_HEARD)
        elif found := signal.sigtimedwait(_HEARD, _AGAIN if self._killing else _LOOK):
            number = found.si_signo
        if number == signal.SIGTERM:
            self._tell()
        elif number == signal.SIGUSR1:
            self._ending.killed = self._ending.killed or self._alive
            self._killing = True

    def _tell(self) -> None:
        """
        SIGTERM to every process of the run, each once: they are stopped first, so that none is made meanwhile and missed, and
        what is made to tidy up, by a trap, is not told.
        """
        if self._ending.told:
            return
        self._ending.told = True
        self._until = time.monotonic() + self._request.patience
        descendants.stop_all(self._me)
        # Children go on before their parents: of one that ends, the kernel ends groups that have a stopped process, by SIGHUP.
        stopped = reversed(descendants.below(self._me).items())
        for pid, start in stopped:
            descendants.send(pid, start, signal.SIGTERM)
            descendants.send(pid, start, signal.SIGCONT)

    def _holds_output(self) -> bool:
        return any(descendants.holds(pid, self._outputs) for pid in descendants.below(self._me))
