"""
A small process that forks the shims of one executor, so that little memory is copied per run. It imports almost nothing.

It ends once its executor and its last shim are gone. If a shim dies before its run, the run's processes become children of the
fork server, which ends them.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import time

from shared.executors.process import descendants, kernel, shim
from shared.executors.process.request import DIED, HEADER, REFUSED, Request, unpacked

_REQUESTS, _ANSWERS = 0, 1
_SPARED = -900  #: of -1000: protection from the kernel's OOM killer
_PATIENCE = 5.0  #: seconds to wait for orphans that do not die, until other starts are served
_EVERY = frozenset(range(1, signal.NSIG)) - {signal.SIGKILL, signal.SIGSTOP}


def main(directory: str) -> None:
    """Serve the requests from standard input. The records of the runs are in `directory`."""
    if os.fork():
        os._exit(0)  # the starter does not wait for us
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    _reset_signals()
    kernel.become_subreaper()
    kernel.set_name("god-forkserver")
    _Server(os.open(directory, os.O_RDONLY | os.O_DIRECTORY)).serve()


def _reset_signals() -> None:
    """Reset all signals: Python and our starter ignore some, and a command would inherit that."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _EVERY)
    for number in _EVERY:
        with contextlib.suppress(OSError, ValueError):  # two belong to the C library
            signal.signal(number, signal.SIG_DFL)


class _Server:
    def __init__(self, records: int) -> None:
        self._records = records
        self._nothing = os.open(os.devnull, os.O_RDWR)
        self._shims: dict[int, int] = {}  #: number of the request, by pid
        self._oom_score = kernel.oom_score()
        kernel.set_oom_score(_SPARED)
        if kernel.oom_score() == self._oom_score:
            self._oom_score = None  # unchanged: nothing to undo in a command

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: self._collect())
        # The garbage collector skips all present objects: visiting them would copy their memory in each shim.
        gc.disable()
        gc.freeze()
        while (body := self._next()) is not None:
            self._make(unpacked(body))
        while self._shims:
            signal.sigwait({signal.SIGCHLD})
            self._collect()

    def _next(self) -> bytes | None:
        header = self._read(HEADER)
        return None if header is None else self._read(int.from_bytes(header, "big"))

    def _read(self, size: int) -> bytes | None:
        """Read this many bytes, collecting shims meanwhile; None where the executor ended before it had written them."""
        content = b""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        try:
            while len(content) < size:
                chunk = os.read(_REQUESTS, size - len(content))
                if not chunk:
                    return None
                content += chunk
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        return content

    def _make(self, request: Request) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._answer(f"{request.number} {REFUSED} fork {error.errno}\n")
            return
        if not pid:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(self._nothing, _REQUESTS)
            shim.run(request, records=self._records, answers=_ANSWERS, oom_score=self._oom_score)
        self._shims[pid] = request.number

    def _collect(self) -> None:
        """Collect ended children. Where a shim died early, end what its run left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._shims.pop(pid, None)
            if number is not None and status != 0:
                self._answer(f"{number} {DIED} {status}\n")
                self._end_orphans()

    def _end_orphans(self) -> None:
        """End children that are no shims: they have lost theirs."""
        me, shims = os.getpid(), frozenset(self._shims)
        until = time.monotonic() + _PATIENCE
        while descendants.below(me, shims) and time.monotonic() < until:
            descendants.kill_all(me, shims)

    @staticmethod
    def _answer(text: str) -> None:
        with contextlib.suppress(OSError):  # the executor is gone
            os.write(_ANSWERS, text.encode())
