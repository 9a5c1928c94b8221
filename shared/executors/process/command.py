"""
The last steps of a run's process before it becomes the command: it changes to the user and drops everything of ours. It is a
child of the run's shim, of whose memory only the little that it touches is copied.
"""

from __future__ import annotations

import os
import resource
import signal
import stat

from shared.executors.process import kernel
from shared.executors.process.request import Request

OUTPUTS = ("god.log", "god.err")
_OUTPUT_MODE = 0o600


class Refused(Exception):
    """A failed step with its error."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(step, number)
        self.step = step
        self.number = number


class _Step:
    """A context that names its step in errors."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, OSError):
            raise Refused(self._name, error.errno or 0) from error


def run(request: Request, *, home: int, go: int, report: int, oom_score: int | None) -> None:
    """
    Become the command of `request` once a byte can be read from `go`; if that is closed, execute nothing. The output files and
    a failed step are written to `report`. Never returns.

    `home` is a descriptor of the task's directory: a folder above may be closed to the user. `oom_score` is the shim's value
    from before it was protected from the kernel's OOM killer.
    """
    try:
        _become_the_users(request, home, oom_score)
        if os.read(go, 1):
            _redirect(report)
            _execute(request)
    except Refused as refused:
        os.write(report, f"failed {refused.step} {refused.number}\n".encode())
    finally:
        os._exit(127)


def _become_the_users(request: Request, home: int, oom_score: int | None) -> None:
    with _Step("session"):
        os.setsid()
    with _Step("directory"):
        os.fchdir(home)
    with _Step("limits"):
        for name, soft, hard in request.limits:
            _limit(name, soft, hard)
    if oom_score is not None:
        kernel.set_oom_score(oom_score)
    with _Step("user"):
        if request.identity is not None:
            uid, gid, groups = request.identity
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        kernel.forbid_new_privileges()
        # After the change of the user, which resets it. A command does not outlive its shim.
        kernel.die_with_parent(signal.SIGKILL)
    os.umask(request.umask)


def _limit(name: int, soft: int, hard: int) -> None:
    ceiling = resource.getrlimit(name)[1]
    # Only root may exceed its own hard limits, and not even root the system's (`fs.nr_open`).
    if ceiling != resource.RLIM_INFINITY:
        hard = min(hard, ceiling)
    resource.setrlimit(name, (min(soft, hard), hard))


def _redirect(report: int) -> None:
    """Redirect input from nothing and output to the task's files, opened by the user for appending."""
    with _Step("output"):
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in enumerate(OUTPUTS, start=1):
            os.dup2(_open_output(name), number)
        found = [os.fstat(number) for number in (1, 2)]
    os.write(report, ("output " + " ".join(f"{one.st_dev}:{one.st_ino}" for one in found) + "\n").encode())


def _open_output(name: str) -> int:
    # A planted pipe would block us forever: files are opened without blocking, and pipes refused.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = os.open(name, flags, _OUTPUT_MODE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(22, "it is not a file")
    os.set_blocking(descriptor, True)
    return descriptor


def _execute(request: Request) -> None:
    with _Step("exec"):
        # No signal is ignored: the fork server has reset all to their defaults.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(request.argv[0], request.argv, request.environment)
