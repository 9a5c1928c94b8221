"""The executor that runs tasks as processes of this machine: for a first try without Docker, and for tests."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil

from shared import clock, errors, settings
from shared.executors import base, watching
from shared.executors.process import events, proc, records, runs, spawn, tree

BEGIN_TIMEOUT = 1.0  #: seconds that a stop leaves a new run to take its attempt

_GB = 1024**3


class ProcessExecutor:
    """
    See `base.Executor`. The records and `/proc` are all the state there is: the scheduler that starts a run and the watcher
    that lists and stops it are different processes, and either may have been started after it.
    """

    name = "process"

    def __init__(self, config: settings.Settings, owner: base.Owner | None = None) -> None:
        """`owner`: None for what the settings name, as versions without marks had it."""
        self._config = config
        self._owner = owner or base.Owner(config.instance)
        root = str(config.shared_dir.absolute())
        self._records = records.Records(config.data_dir / "runs" / records.NODE, owner=self._owner, root=root)
        self._spawner = spawn.Spawner(self._records)
        self._scans = tree.Scans()
        self._watcher = watching.DirectoryWatcher()
        #: The last sample of a run: when, and the cpu seconds it had used by then.
        self._samples: dict[str, tuple[float, float]] = {}

    @property
    def owner(self) -> base.Owner:
        return self._owner

    def features(self) -> frozenset[base.Feature]:
        # Devices and ports are told and left alone by others; nothing keeps a process from those of another.
        return frozenset({base.Feature.PAUSE, base.Feature.GPUS, base.Feature.PORTS})

    async def set_nodes(self, nodes: Sequence[settings.Node]) -> None:
        """Its one node is this machine."""

    def node_names(self) -> Sequence[str]:
        return [records.NODE]

    async def nodes(self) -> Sequence[base.NodeReport]:
        return [await asyncio.to_thread(self._report)]

    async def prepare(self, run: base.Run) -> None:
        self._check_node(run.handle.node)

    async def start(self, run: base.Run) -> float:
        self._check_node(run.handle.node)
        self._owner.mark_of(run.handle)
        return await self._spawner.start(run)

    async def booted(self, node: str) -> base.Boot | None:
        return None  # after a reboot there is nobody left to ask

    async def list(self, node: str) -> Sequence[base.Observation]:
        self._check_node(node)
        return await asyncio.to_thread(self._list, node)

    async def inspect(self, handle: base.Handle) -> base.Observation | None:
        found = await self._look(handle)
        return found.observation(handle.node) if found else None

    def events(self, node: str) -> AsyncIterator[base.Event]:
        self._check_node(node)
        return events.watch(self._records, self._watcher)

    async def stop(self, handle: base.Handle, *, grace: float) -> None:
        found = await self._look(handle)
        if found is None:
            return
        if found.process is not None:
            await self._terminate(found, found.process, grace)
        await tree.kill(found.record, self._scans, wrapper=found.process)

    async def pause(self, handle: base.Handle) -> None:
        found = await self._look(handle)
        if found is not None and found.process is not None:
            await tree.freeze(found.record, self._scans, wrapper=found.process)

    async def resume(self, handle: base.Handle) -> None:
        found = await self._look(handle)
        if found is not None and found.process is not None:
            tree.send(await tree.of(found.record, self._scans, wrapper=found.process), signal.SIGCONT)

    async def remove(self, handle: base.Handle) -> None:
        found = await self._look(handle)
        if found is None:
            return
        await tree.kill(found.record, self._scans, wrapper=found.process)
        await asyncio.to_thread(self._records.delete, handle.name)

    async def stats(self, handle: base.Handle) -> base.Stats | None:
        found = await self._look(handle)
        if found is None or found.process is None:
            return None
        processes = await tree.of(found.record, self._scans, wrapper=found.process)
        now, used = clock.now(), sum(process.cpu for process in processes) / proc.TICKS
        # One look has no rate: it is that since the last one, and at first that since the start.
        since, before = self._samples.get(handle.name, (found.record.started_at, 0.0))
        self._samples[handle.name] = (now, used)
        return base.Stats(
            at=now,
            cpu_percent=max(0.0, 100.0 * (used - before) / (now - since)) if now > since else 0.0,
            memory=sum(process.memory for process in processes),
            memory_limit=0,
            network_rx=0,
            network_tx=0,
            pids=len(processes),
        )

    async def close(self) -> None:
        self._spawner.close()
        self._watcher.close()

    async def _terminate(self, found: runs.Found, process: proc.Process, grace: float) -> None:
        """SIGTERM to the wrapper, and `grace` seconds for it to come to its end."""
        await self._begun(found.record)
        # To it alone, as in a container: it passes the signal on. Sent to the group, the command would get it twice, and a
        # shell whose child dies of the same signal that interrupts its `wait` can lose the child's exit code (bash does).
        tree.send([process], signal.SIGTERM)
        if found.state is base.RunState.PAUSED:
            tree.send(await tree.of(found.record, self._scans, wrapper=process), signal.SIGCONT)
        await tree.wait(process, timeout=grace)

    async def _begun(self, record: records.Record) -> None:
        # A shell that has not come to its trap yet would die of the signal, and leave nothing that says how it ended.
        deadline = clock.monotonic() + BEGIN_TIMEOUT
        while not await asyncio.to_thread(runs.has_begun, record):
            if clock.monotonic() > deadline:
                return
            await asyncio.sleep(0.01)

    async def _look(self, handle: base.Handle) -> runs.Found | None:
        self._check_node(handle.node)
        return await asyncio.to_thread(self._look_now, handle.name)

    def _look_now(self, name: str) -> runs.Found | None:
        record = self._records.read(name)
        return runs.look(record) if record else None

    def _list(self, node: str) -> Sequence[base.Observation]:
        self._records.sweep()
        names = set(self._records.names())
        # What is no longer there is forgotten, so that this cannot grow for ever.
        self._samples = {name: sample for name, sample in self._samples.items() if name in names}
        found = (self._look_now(name) for name in names)
        return [one.observation(node) for one in found if one is not None]

    def _report(self) -> base.NodeReport:
        shared = self._config.shared_dir
        disk = shutil.disk_usage(shared if shared.is_dir() else Path("/"))
        memory = self._config.process_memory
        return base.NodeReport(
            name=records.NODE,
            executor=self.name,
            ready=True,
            reason=None,
            cpus=self._config.process_cpus or float(os.cpu_count() or 1),
            memory=round(memory * _GB) if memory is not None else psutil.virtual_memory().total,
            disk_used=disk.used,
            disk_total=disk.total,
            gpus=tuple(self._config.process_gpus),
            version=os.uname().release,
        )

    def _check_node(self, node: str) -> None:
        if node != records.NODE:
            raise errors.NodeUnavailable(node, "it is not configured")
