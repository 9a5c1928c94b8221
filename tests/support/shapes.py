"""
Scripts in all the forms that users write, with the expected values: one table for every executor.

Each runs a program that takes a moment to save its work on SIGTERM, and exits with 7 once `go-on` exists.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

READY = "ready"  #: written once the program handles SIGTERM
GO_ON = "go-on"  #: makes the program end by itself

#: Signals 32 and 33, as a mask of /proc/PID/status: the C library keeps them to itself (nptl(7)), and its posix_spawn(3), by
#: which `make` starts all of us, leaves them ignored.
C_LIBRARY_SIGNALS = 3 << 31

#: The program, `./prog`. It takes longer to save than a shell takes to die.
_PROGRAM = """\
cat > prog <<'EOF'
#!/bin/sh
trap 'sleep 0.2; echo saved > saved; exit 0' TERM
echo > ready
while [ ! -e go-on ]; do sleep 0.05; done
exit 7
EOF
chmod +x prog
"""

_PYTHON = """\
#!/usr/bin/env python3
import os, signal, sys, time
def on_term(number, frame):
    time.sleep(0.2)
    open("saved", "w").write("saved\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, on_term)
open("ready", "w").write("\\n")
while not os.path.exists("go-on"):
    time.sleep(0.05)
sys.exit(7)
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """A script and its expected values."""

    name: str
    script: str
    code: int  #: exit code if the program ends by itself
    left: frozenset[str] = frozenset({"saved"})  #: files that exist after a SIGTERM with enough grace
    interpreter: str = "sh"  #: interpreter that the image or the host must have


def _sh(name: str, body: str, code: int, *left: str) -> Shape:
    return Shape(name, f"{_PROGRAM}{body}\n", code, frozenset({"saved", *left}))


def _bash(name: str, body: str, code: int, *left: str) -> Shape:
    return Shape(name, f"#!/bin/bash\n{_PROGRAM}{body}\n", code, frozenset({"saved", *left}), interpreter="bash")


_CLEANUP = "trap 'echo cleanup > cleanup' TERM"

SHAPES = (
    _sh("last line", "./prog", 7),
    _sh("middle line", "echo begun\n./prog\necho after\nexit 4", 4),
    _sh("loop", "for one in 1; do ./prog; done", 7),
    _sh("pipe", "./prog | cat > piped\nexit 5", 5),
    _sh("exec", "exec ./prog", 7),
    _sh("subshell", "(echo begun; ./prog; exit 6)", 6),
    _sh("command substitution", "got=$(./prog)\nexit $?", 7),
    _sh("nested shells", "sh -c 'sh -c \"./prog; exit 3\"; exit 2'\nexit 1", 1),
    _sh("background and wait", "./prog &\nwait $!", 7),
    _sh("own session", "setsid ./prog &\nwait $!", 7),
    _sh("nohup", "nohup ./prog\nexit 2", 2),
    _sh("timeout", "timeout 600 ./prog\nexit $?", 7),
    _sh("trap of sh", f"{_CLEANUP}\n./prog\nexit $?", 7, "cleanup"),
    _sh("trap of sh that waits", f"{_CLEANUP}\n./prog &\nwait $!\nexit $?", 7, "cleanup"),
    _bash("trap of bash", f"{_CLEANUP}\n./prog\nexit $?", 7, "cleanup"),
    _bash("trap of bash that waits", f"{_CLEANUP}\n./prog &\nwait $!\nexit $?", 7, "cleanup"),
    _bash("trap of bash at its exit", "trap 'echo cleanup > cleanup' EXIT\n./prog\nexit $?", 7, "cleanup"),
    Shape("python", _PYTHON, 7, interpreter="python3"),
)

#: Ways in which a task cleans up, or damages, GoDocker's files in its directory.
TIDYINGS = (
    "rm -rf .godocker",
    "rm -rf .godocker; echo > .godocker",
    "rm -rf .godocker; ln -s /tmp .godocker",
    "rm -rf .godocker/*; for n in 1 2 3; do echo 99 > .godocker/exit.$n; done",
    "rm -rf .[!.]* *",
    "chmod 0 .godocker",
    "chmod 0 .",
    "mv .godocker elsewhere",
    "rm -f god.log god.err god.info",
)

#: Codes that some layer could mistake for its own: of shells, signals, engines.
CODES = (0, 1, 3, 125, 126, 127, 137, 143, 255)


def rounds() -> int:
    """Return how often a race is tried: a few times, or a hundred with `GODOCKER_LONG_TESTS`."""
    return 100 if os.environ.get("GODOCKER_LONG_TESTS") else 5
