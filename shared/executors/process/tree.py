"""All processes of a run, also those that tried to get away, and signals to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from shared import clock, errors
from shared.executors.process import proc, records

KILL_TIMEOUT = 15.0  #: seconds until a run that cannot be killed makes the node count as sick
FREEZE_TIMEOUT = 5.0  #: seconds until a run counts as one that cannot be paused
_ROUND = 0.02  #: seconds between two looks at who is left
_CONFIRMATIONS = 3  #: looks that must find nobody
_FREEZES = 5  #: rounds of SIGSTOP before SIGKILL: a stopped process makes no new ones


class Scans:
    """Looks at all processes, shared by all who ask for one at the same time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._begun_at = float("-inf")
        self._last: Sequence[proc.Process] = ()

    async def take(self) -> Sequence[proc.Process]:
        """All processes as they are after this was called."""
        asked_at = clock.monotonic()
        async with self._lock:
            if self._begun_at < asked_at:
                begun_at = clock.monotonic()
                self._last = await asyncio.to_thread(proc.snapshot)
                self._begun_at = begun_at
            return self._last


def members(
    processes: Sequence[proc.Process], *, name: str, directory: str, uid: int, wrapper: int | None, start: int | None
) -> list[proc.Process]:
    """
    The living processes of a run: those of the wrapper's session, those whose environment names the run, and all
    descendants of either. Only ever ones of its user, and none that another run is named in. A run of that name with another
    directory is another system's on the same machine, in a container of its maybe. The wrapper is one of the run's also before it
    has given up our rights.

    `wrapper` is the wrapper's pid, whether it lives or not, `start` when it was started.
    """

    def is_named(process: proc.Process) -> bool:
        return process.run == name and process.directory in (None, directory)

    by_pid = {process.pid: process for process in processes}
    # The kernel gives the pid of a session's leader to nobody else while the session has members. Where the pid has a
    # process that is not the wrapper, the session is gone, and the number means another one.
    leader = by_pid.get(wrapper) if wrapper is not None else None
    is_wrapper = leader is not None and leader.start == start
    session = wrapper if leader is None or is_wrapper else None
    mine = {
        process.pid
        for process in processes
        if is_named(process) or (session is not None and process.session == session and process.run is None)
    }
    grown = True
    while grown:
        more = {process.pid for process in processes if process.ppid in mine} - mine
        mine |= more
        grown = bool(more)
    found = (by_pid[pid] for pid in mine)
    return [
        process
        for process in found
        if process.is_alive
        and (process.uid == uid or (is_wrapper and process.pid == wrapper))
        and (process.run is None or is_named(process))
    ]


async def of(record: records.Record, scans: Scans, *, wrapper: proc.Process | None) -> list[proc.Process]:
    """The living processes of a run, as of now. `wrapper`: the one that lives, where it is not the recorded one."""
    pid, start = (wrapper.pid, wrapper.start) if wrapper else (record.pid, record.start)
    if record.boot != proc.boot_id():
        pid = start = None
    everybody = await scans.take()
    return members(everybody, name=record.name, directory=record.directory, uid=record.uid, wrapper=pid, start=start)


async def kill(record: records.Record, scans: Scans, *, wrapper: proc.Process | None) -> None:
    """SIGKILL to all of a run, until none is left. Raises `errors.NodeUnavailable` where one does not die."""
    deadline = clock.monotonic() + KILL_TIMEOUT
    rounds = empty = 0
    # Where there was something to kill, it must be seen more than once that nothing is left: a process that forks and ends while
    # we look is easily missed.
    while empty < (_CONFIRMATIONS if rounds else 1):
        left = await of(record, scans, wrapper=wrapper)
        if not left:
            empty += 1
            continue
        if clock.monotonic() > deadline:
            raise errors.NodeUnavailable(records.NODE, f"processes of {record.name} do not die: {_first(left)}")
        # Frozen first: against one that forks faster than we look, killing alone would never come to an end.
        freeze = rounds < _FREEZES and not all(process.is_stopped for process in left)
        number = signal.SIGSTOP if freeze else signal.SIGKILL
        send_to_groups(left, number)
        send(left, number)
        rounds, empty = rounds + 1, 0
        if not freeze:
            await asyncio.sleep(_ROUND)


def send_to_groups(processes: Sequence[proc.Process], number: signal.Signals) -> None:
    """
    A signal to the groups of these processes as a whole, which the kernel does at one moment: what is forked meanwhile
    gets it too (kill(2), fork(2)). Only groups that lead a session: those were made by the run, for itself.
    """
    groups = {process.group: process for process in processes if process.group == process.session}
    for group, member in groups.items():
        # The kernel gives the number of a group that has a member to no other.
        now = proc.read(member.pid)
        if now is not None and now.start == member.start and now.group == group:
            with contextlib.suppress(OSError):
                os.killpg(group, number)


async def freeze(record: records.Record, scans: Scans, *, wrapper: proc.Process) -> None:
    """SIGSTOP to all of a run, until none that runs is left. Raises `errors.NodeUnavailable` where one does not stop."""
    deadline = clock.monotonic() + FREEZE_TIMEOUT
    while True:
        processes = await of(record, scans, wrapper=wrapper)
        running = [process for process in processes if not process.is_stopped]
        if not running:
            return
        if clock.monotonic() > deadline:
            raise errors.NodeUnavailable(records.NODE, f"processes of {record.name} do not stop: {_first(running)}")
        # Who waits in vfork(2), as most shells do for a command they start, stops only once its child has executed something: a
        # child that is stopped before would hold it for ever. It is let go on, and stopped after its parent.
        waiting = {process.pid for process in running if process.is_uninterruptible}
        send([process for process in running if process.ppid not in waiting], signal.SIGSTOP)
        send([process for process in processes if process.is_stopped and process.ppid in waiting], signal.SIGCONT)
        await asyncio.sleep(_ROUND)


def send(processes: Sequence[proc.Process], number: signal.Signals) -> None:
    """A signal to each of these very processes: none that got the pid of one meanwhile."""
    for process in processes:
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(process.pid)
            try:
                # The descriptor holds on to the process: now that it is open, what is read is about that one.
                now = proc.read(process.pid)
                if now is not None and now.start == process.start:
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


def _first(processes: Sequence[proc.Process]) -> str:
    return ", ".join(str(process.pid) for process in processes[:5])


async def wait(process: proc.Process, *, timeout: float) -> bool:
    """Wait until a process, which need not be a child of ours, has ended. False after `timeout` seconds."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        now = proc.read(process.pid)
        if now is None or now.start != process.start:
            return True
        loop.add_reader(descriptor, ended.set)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), timeout)
        return ended.is_set()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
