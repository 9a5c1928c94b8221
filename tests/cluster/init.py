"""
Become a machine of its own: namespaces for mounts, host name, IPC, processes and network, with a first process that
collects what ends in it.

    python init.py OWNER-PID HOSTNAME DIRECTORY

Prints the first process's number as it is seen from outside, once the machine is up. The machine goes when its first
process is killed and when the owner ends, however that one ends: the kernel then kills everything in it and takes its mounts and
its interfaces away. DIRECTORY is only there to be seen in the list of processes.
"""

import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable

_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000
_MS_REC, _MS_SLAVE = 0x4000, 0x80000
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def main(owner: str, hostname: str, directory: str) -> None:
    alive = os.pidfd_open(int(owner))
    _call(_libc.unshare, _CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWIPC | _CLONE_NEWPID | _CLONE_NEWNET)
    reader, writer = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(reader)
        _run_first(hostname, writer)
    os.close(writer)
    if not os.read(reader, 1):
        sys.exit("init: the machine did not come up")
    print(first, flush=True)
    _guard(first, alive)


def _guard(first: int, alive: int) -> None:
    """Wait for the end of the machine, and end it with its owner."""
    ended = os.pidfd_open(first)
    # Not a signal at the parent's end: the process that boots a machine again need not be its owner.
    readable, _, _ = select.select([alive, ended], [], [])
    if ended not in readable:
        os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)


def _run_first(hostname: str, writer: int) -> None:
    """Run the first process: set up the machine, then collect orphans forever."""
    _call(_libc.prctl, _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Later mounts outside are visible inside; mounts inside stay inside.
    _mount(None, "/", None, _MS_REC | _MS_SLAVE)
    _mount("proc", "/proc", "proc", 0)
    # Pid files and sockets of containerd and its shims: gone with the machine, as after a reboot.
    _mount("tmpfs", "/run", "tmpfs", 0)
    _call(_libc.sethostname, hostname.encode(), len(hostname.encode()))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    os.write(writer, b"1")
    os.close(writer)
    # Nobody reads our output from now on, and readers must not wait for its end.
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    while True:
        signal.sigwait({signal.SIGCHLD})
        while _collected():
            pass


def _collected() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    encoded = [text.encode() if text else None for text in (source, target, kind)]
    _call(_libc.mount, *encoded, flags, None)


def _call(function: Callable[..., int], *arguments: object) -> None:
    if function(*arguments) != 0:
        sys.exit(f"init: {getattr(function, '__name__', function)}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main(*sys.argv[1:])
