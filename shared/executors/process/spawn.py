"""Make the process of a run: with the user's identity, and nothing of ours."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import os
import socket
import subprocess
from dataclasses import replace

import structlog

from shared import clock, errors, troubles
from shared.executors import base, devices, wrapper
from shared.executors.process import proc, records, runs

log = structlog.get_logger(__name__)

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UMASK = 0o077


class Spawner:
    """Makes the processes, on a thread of its own, and collects the exit statuses of those that are our children."""

    def __init__(self, kept: records.Records) -> None:
        self._records = kept
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="spawn")
        self._children: dict[int, int] = {}  #: pidfd by pid

    async def start(self, run: base.Run) -> float:
        """See `base.Executor.start`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._start, run, loop)

    def close(self) -> None:
        """The children live on; whoever inherits them collects their statuses."""
        self._thread.shutdown(wait=True)
        for pid in list(self._children):
            self._collect(asyncio.get_running_loop(), pid)

    def _start(self, run: base.Run, loop: asyncio.AbstractEventLoop) -> float:
        check(run)
        self._records.prepare()
        port = taken_port(run)
        # Asked before the record: one that listens already has one.
        if port is not None and self._records.read(run.handle.name) is None:
            raise errors.PortTaken(f"port {port} of {records.NODE} is in use there", port=port)
        intent = records.Record(
            run.handle.task_id,
            run.handle.attempt,
            run.uid,
            run.directory,
            proc.boot_id(),
            clock.now(),
            gpus=tuple(run.gpus),
            ports=tuple((mapping.container, mapping.host) for mapping in run.ports),
            system=run.handle.system,
        )
        if not self._records.claim(intent):
            existing = self._records.read(intent.name)
            if existing is None:
                raise errors.NodeUnavailable(records.NODE, f"{intent.name} is being removed")
            if runs.look(existing).state is not base.RunState.CREATED:
                log.info("process.adopted", run=intent.name)
                return existing.started_at
            # An intent and nothing more: its starter died, or is between its two writes right now. Another wrapper
            # does no harm, only the one that takes the attempt runs the command.
        return self._spawn(run, intent, loop)

    def _spawn(self, run: base.Run, intent: records.Record, loop: asyncio.AbstractEventLoop) -> float:
        try:
            process = _popen(run)
        except OSError as error:
            self._records.delete(intent.name)
            if error.errno == errno.E2BIG:
                raise errors.StartRefused(f"the process could not be made: {error.strerror}") from error
            raise troubles.of_node(error) from error
        except (ValueError, subprocess.SubprocessError) as error:
            self._records.delete(intent.name)
            raise errors.StartRefused(f"the process could not be made: {error}") from error
        # The record goes with start time and boot, so that a pid that was given away again is not taken for the run.
        seen = proc.read(process.pid)
        self._records.update(replace(intent, pid=process.pid, start=seen.start if seen else -1))
        process.returncode = 0  # ours to collect, not for Popen to warn of
        loop.call_soon_threadsafe(self._watch_child, loop, process.pid)
        return intent.started_at

    def _watch_child(self, loop: asyncio.AbstractEventLoop, pid: int) -> None:
        try:
            descriptor = os.pidfd_open(pid)
        except OSError as error:
            log.warning("process.not_collected", pid=pid, reason=str(error))
            return
        self._children[pid] = descriptor
        loop.add_reader(descriptor, self._collect, loop, pid)

    def _collect(self, loop: asyncio.AbstractEventLoop, pid: int) -> None:
        descriptor = self._children.pop(pid)
        loop.remove_reader(descriptor)
        os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def check(run: base.Run) -> None:
    """Raise `errors.StartRefused` for what a process of this machine cannot be given."""
    foreign = [mount.name for mount in run.mounts if mount.name != "home" and mount.target != base.DATA]
    if foreign:
        raise errors.StartRefused(f"processes have no volumes: {', '.join(foreign)}")
    if run.root or (os.geteuid() == 0 and run.uid == 0):
        raise errors.StartRefused("processes are not run as root")
    if os.geteuid() not in (0, run.uid):
        raise errors.StartRefused(f"GoDocker runs as uid {os.geteuid()} and cannot make processes of uid {run.uid}")


def command(run: base.Run, *, as_root: bool) -> list[str]:
    """
    The command line: setpriv(1), which gives up our rights and all ways to new ones, then the wrapper, which first gives up its
    core dumps for good. The rights are not given up between fork and exec: for that, all memory of this process would have to be
    copied, which takes longer than everything else.
    """
    shell, option, program, *arguments = wrapper.argv(run)
    return [*_rights(run, as_root=as_root), shell, option, f"ulimit -c 0\n{program}", *arguments]


def _rights(run: base.Run, *, as_root: bool) -> list[str]:
    if not as_root:
        return ["setpriv", "--no-new-privs"]
    groups = f"--groups={','.join(map(str, run.groups))}" if run.groups else "--clear-groups"
    return ["setpriv", "--no-new-privs", f"--reuid={run.uid}", f"--regid={run.gid}", groups]


def environment(run: base.Run) -> dict[str, str]:
    """
    Everything the process has in its environment: nothing is inherited from ours. While it gives up its rights it has it already,
    so no name in it is the task's choice.
    """
    home = next((mount.source for mount in run.mounts if mount.name == "home"), None)
    # A process that is the user's may write there, too: only a mount can be read only.
    data = next((mount.source for mount in run.mounts if mount.target == base.DATA), None)
    return {
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        **wrapper.environment(run, workdir=run.directory, home=home, data=data),
        # Without it, programs take all that there are. Numbers are counted as `nvidia-smi` does.
        "CUDA_VISIBLE_DEVICES": ",".join(devices.names(run.gpus)),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def taken_port(run: base.Run) -> int | None:
    """The first of the run's ports that somebody listens at. Between this look and the run's own, anybody may begin to."""
    for mapping in run.ports:
        with socket.socket() as probe:
            # As servers do: what is left of closed connections is no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", mapping.host))
            except OSError:
                return mapping.host
    return None


def _popen(run: base.Run) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(run, as_root=os.geteuid() == 0),
        # Entered before the rights are given up: the folders above may be closed to the user.
        cwd=run.directory,
        env=environment(run),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        close_fds=True,
        start_new_session=True,
        umask=_UMASK,
    )
