"""
Launcher of a program that gets SIGTERM when its parent process ends for any reason.

    python parent_death.py PARENT-PID PROGRAM [ARGUMENT…]

A separate program instead of a `preexec_fn`: none of our code runs between fork and exec, so the parent may have threads. The
setting survives the exec (PR_SET_PDEATHSIG, prctl(2)). It depends on the *thread* that started us: start children from the main
thread.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    parent, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        sys.exit(f"parent_death: prctl: {os.strerror(ctypes.get_errno())}")
    # If the parent ended before the call, no signal will ever come.
    if os.getppid() != int(parent):
        sys.exit("parent_death: the parent is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
