"""Start a run as its user, inheriting nothing from this process."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import os
import resource
import socket
from dataclasses import dataclass
from typing import Self

import orjson
import structlog

from shared import clock, errors, settings
from shared.executors import devices, types, wrapper
from shared.executors.process import proc, records, request, runs, server
from shared.executors.process.record import NODE, SHIM
from shared.rules import installation_errors

log = structlog.get_logger(__name__)

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UMASK = 0o022  #: as in containers; the task's directory itself is closed to others
_BEGIN = 10.0  #: seconds a shim has to begin the run; later, it refuses to
_ANSWER = 5.0  #: further seconds after which a shim that has not answered counts as hung
_TRIES = 3  #: most fork servers to try in a row, if each dies
#: Errors of the task's directory: another attempt replaced it by something else.
_NOT_A_DIRECTORY = frozenset({errno.ENOTDIR, errno.ELOOP})


@dataclass(frozen=True, slots=True)
class Terms:
    """Limits and times that hold for every run."""

    processes: int  #: per user, if we are root
    open_files: int  #: per process
    drain: float  #: seconds, see `request.Request`
    patience: float

    @classmethod
    def of(cls, config: settings.Settings) -> Self:
        return cls(
            processes=config.pids_limit,
            open_files=config.process_open_files,
            drain=config.output_grace,
            patience=max(config.kill_grace, config.lifespan_grace) + config.output_grace,
        )

    def limits(self) -> list[tuple[int, int, int]]:
        limits = [
            (resource.RLIMIT_CORE, 0, 0),
            (resource.RLIMIT_NOFILE, self.open_files, self.open_files),
        ]
        # It counts all of a user's processes on the machine: without root, that is our own user with unrelated processes.
        return [*limits, (resource.RLIMIT_NPROC, self.processes, self.processes)] if os.geteuid() == 0 else limits


class Spawner:
    """Requests runs from the fork server. Blocking steps run in a thread of their own."""

    def __init__(self, store: records.Records, terms: Terms) -> None:
        self._records = store
        self._terms = terms
        self._server = server.Server(store.directory)
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="spawn")
        self._prepared = False

    async def start(self, run: types.Run) -> float:
        """Start a run as `base.Executor.start` does."""
        check(run)
        loop = asyncio.get_running_loop()
        for _ in range(_TRIES):
            number, coming = self._server.expect()
            try:
                found = await loop.run_in_executor(self._thread, self._ask, run, number, loop)
                if found is not None:
                    return found
                async with asyncio.timeout(_BEGIN + _ANSWER):
                    answer = await coming
            except TimeoutError:
                break
            finally:
                self._server.forget(number)
            match answer.word:
                case request.BEGAN:
                    return float(answer.details[0])
                case request.TAKEN:
                    return await self._adopted(run.handle.name)
                case request.REFUSED:
                    raise _refusal(*answer.details)
                case request.DIED if await asyncio.to_thread(self._records.exists, run.handle.name):
                    return await self._adopted(run.handle.name)
        # The run was not begun, or is recorded: nothing begins later without a record.
        raise errors.NodeUnavailable(NODE, f"{run.handle.name} was not begun within {_BEGIN:g} seconds")

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._server.close()

    async def _adopted(self, name: str) -> float:
        record = await asyncio.to_thread(self._records.read, name)
        if record is None:
            raise errors.NodeUnavailable(NODE, f"{name} is being removed")
        log.info("process.adopted", run=name)
        return record.started_at

    def _ask(self, run: types.Run, number: int, loop: asyncio.AbstractEventLoop) -> float | None:
        """Send the request for a run. If the run exists, return when it was started instead."""
        if not self._prepared:
            self._records.prepare()
            self._prepared = True
        name = run.handle.name
        if self._records.exists(name) and (found := runs.find(self._records, name)) is not None:
            if found.state is not types.RunState.CREATED:
                log.info("process.adopted", run=name)
                return found.record.started_at
            self._records.delete(name)  # only an earlier version's intent to start: its starter died
        port = taken_port(run)
        if port is not None:
            raise errors.PortTaken(f"port {port} of {NODE} is in use there", port=port)
        try:
            self._server.send(self._request(run, number), loop)
        except OSError as error:
            if not self._records.directory.is_dir():
                self._prepared = False
            raise installation_errors.of_node(error) from error
        return None

    def _request(self, run: types.Run, number: int) -> request.Request:
        known = {
            "task_id": run.handle.task_id,
            "attempt": run.handle.attempt,
            "uid": run.uid,
            "directory": run.directory,
            "boot": proc.boot_id(),
            "gpus": list(run.gpus),
            "ports": [(mapping.container, mapping.host) for mapping in run.ports],
            "form": SHIM,
            "system": run.handle.system,
        }
        return request.Request(
            number=number,
            name=run.handle.name,
            attempt=run.handle.attempt,
            record=orjson.dumps(known).decode().removesuffix("}"),
            until=clock.monotonic() + _BEGIN,
            directory=run.directory,
            argv=["./cmd.sh"] if run.shebang else ["/bin/sh", "./cmd.sh"],
            environment=environment(run),
            identity=(run.uid, run.gid, list(run.groups)) if os.geteuid() == 0 else None,
            limits=self._terms.limits(),
            umask=_UMASK,
            drain=self._terms.drain,
            patience=self._terms.patience,
        )


def _refusal(step: str, number: str) -> errors.StartFailed:
    error = OSError(int(number), os.strerror(int(number)))
    if step == "directory" and error.errno in _NOT_A_DIRECTORY:
        return errors.StartRefused(f"the task's directory could not be entered: {error.strerror}")
    return installation_errors.of_node(error)


def check(run: types.Run) -> None:
    """Raise `errors.StartRefused` where a process cannot get what the run needs."""
    foreign = [mount.name for mount in run.mounts if mount.name != "home" and mount.target != types.DATA]
    if foreign:
        raise errors.StartRefused(f"processes have no volumes: {', '.join(foreign)}")
    if run.root or (os.geteuid() == 0 and run.uid == 0):
        raise errors.StartRefused("processes are not run as root")
    if os.geteuid() not in (0, run.uid):
        raise errors.StartRefused(f"GoDocker runs as uid {os.geteuid()} and cannot make processes of uid {run.uid}")
    for name, value in run.environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise errors.StartRefused(
                f"the process could not be made: no environment has a variable {name!r} like this"
            )


def environment(run: types.Run) -> dict[str, str]:
    """Return the whole environment of the process: nothing is inherited from ours."""
    home = next((mount.source for mount in run.mounts if mount.name == "home"), None)
    # The user's process may write there: only a mount can be read-only.
    data = next((mount.source for mount in run.mounts if mount.target == types.DATA), None)
    return {
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        # A process sees all cores and may use them; its owner may set another value.
        "OMP_NUM_THREADS": str(wrapper.threads(run.cpus)),
        **wrapper.environment(run, workdir=run.directory, home=home, data=data),
        # Without it, programs take all GPUs. Numbers are those of `nvidia-smi`.
        "CUDA_VISIBLE_DEVICES": ",".join(devices.names(run.gpus)),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def taken_port(run: types.Run) -> int | None:
    """Return the first of the run's ports that is in use. One may still be taken between this check and the run's start."""
    for mapping in run.ports:
        with socket.socket() as probe:
            # As servers do, to ignore remains of closed connections.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", mapping.host))
            except OSError:
                return mapping.host
    return None
