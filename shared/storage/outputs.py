"""Keep the output of an attempt under a name of its own before the next attempt begins."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

from shared.executors import wrapper

OUTPUTS = ("god.log", "god.err")


def keep(directory: int, states: Sequence[int], *, attempt: int) -> None:
    """
    Rename what `attempt` would write over to that of the attempt before: `god.log` to `god.log.1` before attempt 2 begins.
    An attempt that has begun already writes its own, which stays. `directory` and `states` are descriptors of the task's
    directory and of those that its wrappers leave their files in: nothing is renamed out of them, and no link is followed.
    Raises OSError.
    """
    started = wrapper.started_file(attempt).split("/")[1]
    if attempt < 2 or any(_is_there(state, started) for state in states):
        return
    for name in OUTPUTS:
        kept = _free_name(directory, f"{name}.{attempt - 1}")
        # A link that a task planted is renamed itself: rename(2) follows none at the end of a path.
        with contextlib.suppress(FileNotFoundError):
            os.rename(name, kept, src_dir_fd=directory, dst_dir_fd=directory)


def _free_name(directory: int, wanted: str) -> str:
    """`wanted`, or with another number behind it where the user has a file of that name: nothing of theirs is replaced."""
    name, number = wanted, 0
    while _is_there(directory, name):
        number += 1
        name = f"{wanted}.{number}"
    return name


def _is_there(directory: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True
