"""
A small process that makes the shims of one executor, so that what is copied for each run is small. It imports almost nothing.

It ends once its executor is gone and its last shim with it. Where a shim dies before its run does, what that leaves behind
becomes a child of this process, which ends it.
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
_SPARED = -900  #: of -1000, how much the kernel spares us when memory runs out
_PATIENCE = 5.0  #: seconds for orphans that do not die, until others that want to start are served
_EVERY = frozenset(range(1, signal.NSIG)) - {signal.SIGKILL, signal.SIGSTOP}


def main(directory: str) -> None:
    """Serve the requests on the standard input, whose runs have their records in `directory`."""
    if os.fork():
        os._exit(0)  # whoever started us does not have to wait for us
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    _put_signals_to_their_defaults()
    kernel.become_subreaper()
    kernel.set_name("god-forkserver")
    _Server(os.open(directory, os.O_RDONLY | os.O_DIRECTORY)).serve()


def _put_signals_to_their_defaults() -> None:
    """None is ignored, as Python does with some, and as whoever started us may: a command would never hear of it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _EVERY)
    for number in _EVERY:
        with contextlib.suppress(OSError, ValueError):  # two are the C library's own
            signal.signal(number, signal.SIG_DFL)


class _Server:
    def __init__(self, records: int) -> None:
        self._records = records
        self._nothing = os.open(os.devnull, os.O_RDWR)
        self._shims: dict[int, int] = {}  #: number of the request, by pid
        self._oom_score = kernel.oom_score()
        kernel.set_oom_score(_SPARED)
        if kernel.oom_score() == self._oom_score:
            self._oom_score = None  # as it was: nothing to undo in a command

    def serve(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: self._collect())
        # What is there by now is never looked at by the collector: looking would copy it, in each shim.
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
        """So many bytes; None where the executor ended before it had written them. Shims are collected meanwhile."""
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
        """Collect what has ended; where that was a shim before its time, end what it left."""
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
        """Whatever is a child of ours and no shim has lost its shim."""
        me, shims = os.getpid(), frozenset(self._shims)
        until = time.monotonic() + _PATIENCE
        while descendants.below(me, shims) and time.monotonic() < until:
            descendants.kill_all(me, shims)

    @staticmethod
    def _answer(text: str) -> None:
        with contextlib.suppress(OSError):  # the executor is gone
            os.write(_ANSWERS, text.encode())
