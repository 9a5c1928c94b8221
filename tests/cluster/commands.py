"""Run the system's own tools, with their output in the error if they fail."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

TIMEOUT = 30.0  #: seconds for one command


class ClusterError(Exception):
    """The cluster cannot do what was asked; the text is one line that says why."""


def run(*argv: str, inside: Sequence[str] = ()) -> str:
    """Run a command, after the prefix `inside`, and return its output. Raises `ClusterError` if it fails."""
    done = attempt(*argv, inside=inside)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise ClusterError(f"`{' '.join(argv)}` failed: {words[-1] if words else f'exit code {done.returncode}'}")
    return done.stdout


def attempt(*argv: str, inside: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command that may fail, for example because it was done before."""
    return subprocess.run(
        [*inside, *argv], check=False, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL
    )
