"""Read the processes of this machine from `/proc` (proc(5))."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")  #: per second
PAGE = os.sysconf("SC_PAGE_SIZE")  #: bytes

_RUN, _DIRECTORY = b"GODOCKER_RUN=", b"GODOCKER_PWD="
_CHUNK = 65536  #: bytes per read
_KERNEL_THREAD = 0x00200000  #: flag of a process (`PF_KTHREAD`)
_LISTINGS = 10  #: of all processes, at most, until one shows no new process


@dataclass(frozen=True, slots=True)
class Process:
    """A process. Its pid and `start` together are unique until the next boot."""

    pid: int
    ppid: int
    group: int
    session: int
    state: str  #: one letter: R, S, D, T (stopped), Z (zombie) …
    start: int  #: ticks after the boot
    cpu: int = 0  #: ticks used
    memory: int = 0  #: resident, bytes
    uid: int = -1  #: the real one; -1 where it was not read
    run: str | None = None  #: the run that its environment names
    directory: str | None = None  #: the run's directory: another system's runs have the same names

    @property
    def is_alive(self) -> bool:
        return self.state not in "ZX"

    @property
    def is_stopped(self) -> bool:
        return self.state in "Tt"

    @property
    def is_uninterruptible(self) -> bool:
        return self.state == "D"


def read(pid: int) -> Process | None:
    """Return the process with this pid, without `run` and `directory`; None where it does not exist."""
    try:
        return _parse(pid, _read(f"/proc/{pid}/stat"))
    except (OSError, ValueError, IndexError):
        return None


def recorded(pid: int | None, start: int | None, boot: str) -> Process | None:
    """Return the process with this pid if it lives and was started then."""
    if pid is None or boot != boot_id():
        return None
    process = read(pid)
    return process if process and process.is_alive and process.start == start else None


def snapshot() -> list[Process]:
    """
    Return all processes. `run` and `directory` are read for those that can be a task's. Processes that appear meanwhile are
    included, unless they fork faster than they are listed.
    """
    seen: dict[int, Process | None] = {}
    we_are_root = os.geteuid() == 0
    for _ in range(_LISTINGS):
        new = [pid for pid in _pids() if pid not in seen]
        if not new:
            break
        for pid in new:
            process = read(pid)
            # Root's processes are never a task's: their environments need not be read.
            if process is not None and process.is_alive and not (we_are_root and process.uid == 0):
                process = _with_run(process)
            seen[pid] = process
    return [process for process in seen.values() if process is not None]


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def arguments(pid: int) -> list[str]:
    """Return the command line; empty where it cannot be read."""
    try:
        raw = _read(f"/proc/{pid}/cmdline")
    except OSError:
        return []
    return [os.fsdecode(part) for part in raw.removesuffix(b"\0").split(b"\0")]


def real_uid(pid: int) -> int:
    """Return the real user id, which a task cannot change. Raises OSError, ValueError."""
    status = _read(f"/proc/{pid}/status")
    # The name cannot contain a newline here: the kernel escapes it.
    return int(status[status.index(b"\nUid:") + 5 :].split(None, 1)[0])


@functools.cache
def boot_id() -> str:
    """Return the id of the present boot, which changes with each boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _read(path: str) -> bytes:
    # Not by `Path` and `open`: for hundreds of processes, several times a second, they cost more than the reading.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while chunk := os.read(descriptor, _CHUNK):
            content += chunk
        return content
    finally:
        os.close(descriptor)


def _parse(pid: int, stat: bytes) -> Process:
    # The program's name, in parentheses, may contain anything, including parentheses and spaces.
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
        # The kernel's own threads are root's: nobody has to be asked.
        uid=0 if int(fields[6]) & _KERNEL_THREAD else real_uid(pid),
    )


def _with_run(process: Process) -> Process:
    try:
        environment = _read(f"/proc/{process.pid}/environ")
    except OSError:
        return process
    if _RUN not in environment:
        return process
    parts = environment.split(b"\0")
    return replace(process, run=_value(parts, _RUN), directory=_value(parts, _DIRECTORY))


def _value(parts: Sequence[bytes], name: bytes) -> str | None:
    return next((os.fsdecode(part.removeprefix(name)) for part in parts if part.startswith(name)), None)
