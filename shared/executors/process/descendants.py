"""
The processes below one, found by their parents, which no task can choose: whoever loses its parent becomes a child of the nearest
subreaper above (prctl(2)), which is the run's shim.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable

_PASSES = 50  #: looks for processes that are not stopped yet, before those that are found are killed
_INPUT = 0  #: the descriptor that a filter of the task's output reads


def stop_all(root: int, others: frozenset[int] = frozenset()) -> dict[int, int]:
    """
    Send SIGSTOP to everything below `root`, but for its children `others` and what is below them, until a look finds nothing
    new. Return when each was started, by pid.

    One to which SIGSTOP was sent makes no new process: fork(2) is begun again after the signal. So what a whole look does not
    find is not there, but for those that make another and end faster than we look: these are followed for a while.
    """
    stopped: dict[int, int] = {}
    for _ in range(_PASSES):
        found = False
        # The children of `root` at once, before the look is over: an orphan that forks and ends is gone by then.
        for pid, start in below(root, others, each=lambda pid, start: send(pid, start, signal.SIGSTOP)).items():
            if stopped.get(pid) != start:
                stopped[pid] = start
                found = True
                send(pid, start, signal.SIGSTOP)
        if not found:
            break
    return stopped


def kill_all(root: int, others: frozenset[int] = frozenset()) -> None:
    """Stop and kill everything below `root` that is seen. Whether that was all, waiting for children tells `root`."""
    # Stopped first: what is killed makes room for what others fork meanwhile, what is stopped does not.
    for pid, start in stop_all(root, others).items():
        send(pid, start, signal.SIGKILL)


def below(
    root: int, others: frozenset[int] = frozenset(), *, each: Callable[[int, int], None] | None = None
) -> dict[int, int]:
    """When each living process below `root` was started, by pid. `each` is called with a child of `root` once it is found."""
    parents: dict[int, int] = {}
    starts: dict[int, int] = {}
    # The newest first: they are those that may be gone in a moment.
    for pid in sorted((int(name) for name in os.listdir("/proc") if name.isdigit()), reverse=True):
        seen = _read(pid)
        if seen is None or seen[2] in b"ZX":
            continue
        parents[pid], starts[pid] = seen[0], seen[1]
        if seen[0] == root and pid not in others and each is not None:
            each(pid, seen[1])
    found: dict[int, int] = {}
    new = {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new and pid not in others and pid not in found}
        found.update((pid, starts[pid]) for pid in new)
    return found


def send(pid: int, start: int, number: int) -> None:
    """A signal to this very process: none that got its pid meanwhile."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # The descriptor holds on to the process: now that it is open, what is read is about that one.
        seen = _read(pid)
        if seen is not None and seen[1] == start:
            signal.pidfd_send_signal(descriptor, number)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def start_of(pid: int) -> int:
    """When a process was started, in ticks after the boot; -1 where it is gone."""
    seen = _read(pid)
    return -1 if seen is None else seen[1]


def holds(pid: int, files: frozenset[tuple[int, int]]) -> bool:
    """Whether a process has one of these files (device, inode) open, or reads from a pipe, as a filter of the output does."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    for name in names:
        try:
            found = os.stat(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if (found.st_dev, found.st_ino) in files or (int(name) == _INPUT and stat.S_ISFIFO(found.st_mode)):
            return True
    return False


def _read(pid: int) -> tuple[int, int, bytes] | None:
    """Parent, start and state of a process; None where there is none."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    # The name of the program, in parentheses, may hold anything, also parentheses and spaces.
    fields = text[text.rfind(b")") + 2 :].split()
    return int(fields[1]), int(fields[19]), fields[0]
