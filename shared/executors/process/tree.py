"""Find all processes of a run, even those that detached themselves, and send signals to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence

from shared import clock, errors
from shared.executors.process import earlier, proc
from shared.executors.process.record import NODE, SHIM, Observed

KILL_TIMEOUT = 15.0  #: seconds until a run that survives SIGKILL makes the node count as unavailable
FREEZE_TIMEOUT = 5.0  #: seconds until pausing a run counts as failed
_ROUND = 0.02  #: seconds between two checks for remaining processes
_CONFIRMATIONS = 3  #: checks that must find none
_FREEZES = 5  #: rounds of SIGSTOP before SIGKILL: a stopped process forks no more


class Scans:
    """Scans of all processes, shared by concurrent callers."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._begun_at = float("-inf")
        self._last: Sequence[proc.Process] = ()

    async def take(self) -> Sequence[proc.Process]:
        """Return all processes, read after this call began."""
        asked_at = clock.monotonic()
        async with self._lock:
            if self._begun_at < asked_at:
                begun_at = clock.monotonic()
                self._last = await asyncio.to_thread(proc.snapshot)
                self._begun_at = begun_at
            return self._last


def below(processes: Sequence[proc.Process], root: int) -> list[proc.Process]:
    """Return the living descendants of a process: all of a run, if it is the shim, whatever sessions they have made."""
    mine = {root}
    grown = True
    while grown:
        more = {process.pid for process in processes if process.ppid in mine} - mine
        mine |= more
        grown = bool(more)
    return [process for process in processes if process.pid in mine and process.pid != root and process.is_alive]


async def of(observed: Observed, scans: Scans) -> list[proc.Process]:
    """Return the living processes of a run, including a wrapper, excluding a shim."""
    record = observed.record
    if record.form == SHIM and observed.process is not None:
        return below(await scans.take(), observed.process.pid)
    # Without a shim (an earlier version's run, or a killed shim), only attributes that a task can change are left to search by.
    wrapper = (record.command, record.command_start) if record.form == SHIM else (record.pid, record.start)
    if observed.process is not None:
        wrapper = (observed.process.pid, observed.process.start)
    if record.boot != proc.boot_id():
        wrapper = (None, None)
    return earlier.members(
        await scans.take(),
        name=record.name,
        directory=record.directory if record.readable else None,
        uid=record.uid if record.readable else None,
        wrapper=wrapper[0],
        start=wrapper[1],
    )


async def kill(observed: Observed, scans: Scans) -> None:
    """Kill all of a run until none is left. Raises `errors.NodeUnavailable` where one does not die."""
    if observed.record.form == SHIM and observed.process is not None:
        # Only the shim knows for certain that nothing is left: then it exits.
        send([observed.process], signal.SIGUSR1)
        send([observed.process], signal.SIGCONT)
        if not await wait(observed.process, timeout=KILL_TIMEOUT):
            raise errors.NodeUnavailable(NODE, f"processes of {observed.record.name} do not die")
        return
    deadline = clock.monotonic() + KILL_TIMEOUT
    rounds = empty = 0
    # After a kill, several checks must find nothing: a process that forks and exits during
    # a check is easily missed.
    while empty < (_CONFIRMATIONS if rounds else 1):
        left = await of(observed, scans)
        if not left:
            empty += 1
            continue
        if clock.monotonic() > deadline:
            raise errors.NodeUnavailable(NODE, f"processes of {observed.record.name} do not die: {_first(left)}")
        # Stopped first: against a process that forks faster than a check, killing alone would never end.
        freeze = rounds < _FREEZES and not all(process.is_stopped for process in left)
        number = signal.SIGSTOP if freeze else signal.SIGKILL
        send_to_groups(left, number)
        send(left, number)
        rounds, empty = rounds + 1, 0
        if not freeze:
            await asyncio.sleep(_ROUND)


def send_to_groups(processes: Sequence[proc.Process], number: signal.Signals) -> None:
    """
    Send a signal to the groups of these processes, which the kernel does at one moment: processes forked meanwhile get it too
    (kill(2), fork(2)). Only to groups that lead a session: those were created by the run itself.
    """
    groups = {process.group: process for process in processes if process.group == process.session}
    for group, member in groups.items():
        # The kernel does not reuse the number of a group that has members.
        now = proc.read(member.pid)
        if now is not None and now.start == member.start and now.group == group:
            with contextlib.suppress(OSError):
                os.killpg(group, number)


async def freeze(observed: Observed, scans: Scans) -> None:
    """Stop all of a run until none is running. Raises `errors.NodeUnavailable` where one does not stop."""
    deadline = clock.monotonic() + FREEZE_TIMEOUT
    while True:
        processes = await of(observed, scans)
        running = [process for process in processes if not process.is_stopped]
        if not running:
            return
        if clock.monotonic() > deadline:
            raise errors.NodeUnavailable(NODE, f"processes of {observed.record.name} do not stop: {_first(running)}")
        # A process in vfork(2), like most shells that start a command, stops only after its child has called exec: a
        # child that is stopped before would block it forever. The child is continued, and stopped after its parent.
        waiting = {process.pid for process in running if process.is_uninterruptible}
        send([process for process in running if process.ppid not in waiting], signal.SIGSTOP)
        send([process for process in processes if process.is_stopped and process.ppid in waiting], signal.SIGCONT)
        await asyncio.sleep(_ROUND)


def send(processes: Sequence[proc.Process], number: signal.Signals) -> None:
    """Send a signal to exactly these processes, never to others that got their pids meanwhile."""
    for process in processes:
        with contextlib.suppress(OSError):
            descriptor = os.pidfd_open(process.pid)
            try:
                # The descriptor pins the process: from here on, the pid means this one.
                now = proc.read(process.pid)
                if now is not None and now.start == process.start:
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


def _first(processes: Sequence[proc.Process]) -> str:
    return ", ".join(str(process.pid) for process in processes[:5])


async def wait(process: proc.Process, *, timeout: float) -> bool:
    """Wait for the end of a process, which need not be our child. Return False after `timeout` seconds."""
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
            async with asyncio.timeout(timeout):
                await ended.wait()
        return ended.is_set()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
