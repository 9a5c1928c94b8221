"""
The descendants of a process, found by their parents, which a task cannot choose: an orphan becomes a child of the nearest
subreaper above (prctl(2)), which is the run's shim.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable

_PASSES = 50  #: passes over processes that are not stopped yet, before all found ones are killed
_INPUT = 0  #: the descriptor from which a filter reads the task's output


def stop_all(root: int, others: frozenset[int] = frozenset()) -> dict[int, int]:
    """
    Send SIGSTOP to everything below `root`, except its children `others` and their descendants, until a pass finds nothing new.
    Return the start times by pid.

    A process that was sent SIGSTOP forks no more: fork(2) is restarted after the signal. So a process that a whole pass does not
    find does not exist, except for chains that fork and exit faster than a pass: these are followed for a while.
    """
    stopped: dict[int, int] = {}
    for _ in range(_PASSES):
        found = False
        # Children of `root` at once, before the pass is over: an orphan that forks and exits is gone by then.
        for pid, start in below(root, others, each=lambda pid, start: send(pid, start, signal.SIGSTOP)).items():
            if stopped.get(pid) != start:
                stopped[pid] = start
                found = True
                send(pid, start, signal.SIGSTOP)
        if not found:
            break
    return stopped


def kill_all(root: int, others: frozenset[int] = frozenset()) -> None:
    """Stop and kill everything found below `root`. Whether that was all, `root` learns by waiting for its children."""
    # Stopped first: killed processes make room for new forks of others, stopped ones do not.
    for pid, start in stop_all(root, others).items():
        send(pid, start, signal.SIGKILL)


def below(
    root: int, others: frozenset[int] = frozenset(), *, each: Callable[[int, int], None] | None = None
) -> dict[int, int]:
    """Return the start times of living processes below `root`, by pid. `each` is called with each child as it is found."""
    parents: dict[int, int] = {}
    starts: dict[int, int] = {}
    # The newest first: they may be gone in a moment.
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
    """Send a signal to exactly this process, never to one that got its pid meanwhile."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # The descriptor pins the process: from here on, the pid means this one.
        seen = _read(pid)
        if seen is not None and seen[1] == start:
            signal.pidfd_send_signal(descriptor, number)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def start_of(pid: int) -> int:
    """Return when a process was started, in ticks after the boot; -1 where it is gone."""
    seen = _read(pid)
    return -1 if seen is None else seen[1]


def holds(pid: int, files: frozenset[tuple[int, int]]) -> bool:
    """Return whether a process has one of these files (device, inode) open, or reads from a pipe like an output filter."""
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
    """Return parent, start and state of a process; None where it does not exist."""
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
    # The program's name, in parentheses, may contain anything, including parentheses and spaces.
    fields = text[text.rfind(b")") + 2 :].split()
    return int(fields[1]), int(fields[19]), fields[0]
