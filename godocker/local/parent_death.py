"""
Become another program that gets SIGTERM when the process that started it ends, however that one ends.

    python tether.py PARENT-PID PROGRAM [ARGUMENT…]

A program of its own, and not a `preexec_fn`: nothing of ours runs between fork and exec, so the parent may have
threads. The setting survives the exec (PR_SET_PDEATHSIG, prctl(2)). It is tied to the *thread* that started us: start
children from the main thread.
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
        sys.exit(f"tether: prctl: {os.strerror(ctypes.get_errno())}")
    # The parent may have ended before the call: then nobody would ever tell us.
    if os.getppid() != int(parent):
        sys.exit("tether: the parent is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
