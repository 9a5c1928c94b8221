"""Run the system's own tools, with their words in the error where they fail."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

TIMEOUT = 30.0  #: seconds for one command


class ClusterError(Exception):
    """The cluster cannot do what was asked; the text is one line that says why."""


def run(*argv: str, inside: Sequence[str] = ()) -> str:
    """What the command prints. `inside` is put before it. Raises `ClusterError` where it fails."""
    done = attempt(*argv, inside=inside)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise ClusterError(f"`{' '.join(argv)}` failed: {words[-1] if words else f'exit code {done.returncode}'}")
    return done.stdout


def attempt(*argv: str, inside: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """The same for what may fail, because it was done before for example."""
    return subprocess.run(
        [*inside, *argv], check=False, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL
    )
