"""What `/proc` says about the processes of this machine (proc(5))."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")  #: per second
PAGE = os.sysconf("SC_PAGE_SIZE")  #: bytes

_MARKER = b"GODOCKER_RUN="
_LISTINGS = 10  #: of the processes, at most, until one brings none that is new


@dataclass(frozen=True, slots=True)
class Process:
    """A process. Its pid and `start` together are never used twice before the machine is booted again."""

    pid: int
    ppid: int
    group: int
    session: int
    state: str  #: one letter: R, S, D, T (stopped), Z (zombie) …
    start: int  #: ticks after the boot
    cpu: int = 0  #: ticks used
    memory: int = 0  #: resident, bytes
    uid: int = -1  #: the real one; -1 where it was not asked for
    run: str | None = None  #: the run that its environment names

    @property
    def is_alive(self) -> bool:
        return self.state not in "ZX"

    @property
    def is_stopped(self) -> bool:
        return self.state in "Tt"


def read(pid: int) -> Process | None:
    """The process with this pid, without `run`; None where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return _parse(pid, stat, real_uid(pid))
    except (OSError, ValueError, IndexError):
        return None


def snapshot() -> list[Process]:
    """
    All processes. `run` is read for those that can be a task's. What is made while we look is looked at too, as far
    as it does not outrun us.
    """
    seen: dict[int, Process | None] = {}
    we_are_root = os.geteuid() == 0
    for _ in range(_LISTINGS):
        new = [pid for pid in _pids() if pid not in seen]
        if not new:
            break
        for pid in new:
            process = read(pid)
            # Root's own are never a task's: nobody else's environment has to be read for them.
            if process is not None and process.is_alive and not (we_are_root and process.uid == 0):
                process = _with_run(process)
            seen[pid] = process
    return [process for process in seen.values() if process is not None]


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def arguments(pid: int) -> list[str]:
    """The command line; empty where it cannot be read."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(part) for part in raw.removesuffix(b"\0").split(b"\0")]


def real_uid(pid: int) -> int:
    """The real user id, which a task cannot give up or change. Raises OSError, ValueError."""
    for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
        if line.startswith(b"Uid:"):
            return int(line.split()[1])
    raise ValueError("no user id")


@functools.cache
def boot_id() -> str:
    """Changes with each boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _parse(pid: int, stat: bytes, uid: int) -> Process:
    # The name of the program, in parentheses, may hold anything, also parentheses and spaces.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        ppid=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        state=fields[0].decode(),
        cpu=int(fields[11]) + int(fields[12]),
        start=int(fields[19]),
        memory=int(fields[21]) * PAGE,
        uid=uid,
    )


def _with_run(process: Process) -> Process:
    try:
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:
        return process
    run = next((part for part in environment.split(b"\0") if part.startswith(_MARKER)), None)
    if run is None:
        return process
    return replace(process, run=os.fsdecode(run.removeprefix(_MARKER)))
