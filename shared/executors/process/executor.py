"""The executor that runs tasks as processes of this machine, for a first try without Docker and for tests."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil

from shared import clock, errors, settings
from shared.executors import types, watching
from shared.executors.process import earlier, events, proc, records, runs, spawn, strays, tree
from shared.executors.process.record import NODE, WRAPPER, Observed, Record
from shared.units.sizes import GB

AUDIT = 60.0  #: seconds between two searches for processes that belong to no run
BEGIN_TIMEOUT = 1.0  #: seconds that a stop waits for a new run to take its attempt


class ProcessExecutor:
    """
    A `base.Executor` for this machine. Its only state is the records and `/proc`: the scheduler that starts a run and the watcher
    that lists and stops it are different processes, and either may be younger than the run.
    """

    name = "process"

    def __init__(self, config: settings.Settings, owner: types.Owner | None = None) -> None:
        """`owner`: None for the configured instance, as in versions without marks."""
        self._config = config
        self._owner = owner or types.Owner(config.instance)
        root = str(config.shared_dir.absolute())
        self._records = records.Records(config.data_dir / "runs" / NODE, owner=self._owner, root=root)
        self._spawner = spawn.Spawner(self._records, spawn.Terms.of(config))
        self._scans = tree.Scans()
        self._watcher = watching.DirectoryWatcher()
        #: The last sample of a run: its time, and the cpu seconds used by then.
        self._samples: dict[str, tuple[float, float]] = {}
        self._audit = strays.Audit(config.uid_start)
        self._next_audit = clock.monotonic() + AUDIT

    @property
    def owner(self) -> types.Owner:
        return self._owner

    def features(self) -> frozenset[types.Feature]:
        # Devices and ports are assigned, not enforced: nothing keeps a process from using another's.
        return frozenset({types.Feature.PAUSE, types.Feature.GPUS, types.Feature.PORTS})

    async def set_nodes(self, nodes: Sequence[settings.Node]) -> None:
        """Do nothing: its only node is this machine."""

    def node_names(self) -> Sequence[str]:
        return [NODE]

    async def nodes(self) -> Sequence[types.NodeReport]:
        return [await asyncio.to_thread(self._report)]

    async def prepare(self, run: types.Run) -> None:
        self._check_node(run.handle.node)

    async def start(self, run: types.Run) -> float:
        self._check_node(run.handle.node)
        self._owner.mark_of(run.handle)
        return await self._spawner.start(run)

    async def booted(self, node: str) -> types.Boot | None:
        return None  # no run survives a reboot, and records have their boot

    async def list(self, node: str) -> Sequence[types.Observation]:
        self._check_node(node)
        return await asyncio.to_thread(self._list)

    async def inspect(self, handle: types.Handle) -> types.Observation | None:
        observed = await self._look(handle)
        return observed.observation() if observed else None

    def events(self, node: str) -> AsyncIterator[types.Event]:
        self._check_node(node)
        return events.watch(self._records, self._watcher)

    async def stop(self, handle: types.Handle, *, grace: float) -> None:
        observed = await self._look(handle)
        if observed is None:
            return
        if observed.process is not None:
            await self._terminate(observed, observed.process, grace)
        await tree.kill(observed, self._scans)

    async def pause(self, handle: types.Handle) -> None:
        observed = await self._look(handle)
        if observed is not None and observed.process is not None:
            await tree.freeze(observed, self._scans)

    async def resume(self, handle: types.Handle) -> None:
        observed = await self._look(handle)
        if observed is not None and observed.process is not None:
            tree.send(await tree.of(observed, self._scans), signal.SIGCONT)

    async def remove(self, handle: types.Handle) -> None:
        observed = await self._look(handle)
        if observed is None:
            return
        await tree.kill(observed, self._scans)
        await asyncio.to_thread(self._records.delete, handle.name)

    async def circumstances(self, handle: types.Handle, *, image: bool) -> types.Circumstances:
        return types.Circumstances()

    async def stats(self, handle: types.Handle) -> types.Stats | None:
        observed = await self._look(handle)
        if observed is None or observed.process is None:
            return None
        processes = await tree.of(observed, self._scans)
        now, used = clock.now(), sum(process.cpu for process in processes) / proc.TICKS
        # A rate needs two samples: it is taken since the last one, at first since the start.
        since, before = self._samples.get(handle.name, (observed.record.started_at, 0.0))
        self._samples[handle.name] = (now, used)
        return types.Stats(
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

    async def _terminate(self, observed: Observed, process: proc.Process, grace: float) -> None:
        """Send SIGTERM to all of the run by its shim or wrapper, and wait up to `grace` seconds for its end."""
        if observed.record.form == WRAPPER:
            await self._begun(observed.record)
        tree.send([process], signal.SIGTERM)
        if observed.record.form == WRAPPER and observed.state is types.RunState.PAUSED:
            tree.send(await tree.of(observed, self._scans), signal.SIGCONT)
        await tree.wait(process, timeout=grace)

    async def _begun(self, record: Record) -> None:
        # A shell that has not set its trap yet would die of the signal without recording its end.
        deadline = clock.monotonic() + BEGIN_TIMEOUT
        while not await asyncio.to_thread(earlier.has_begun, record):
            if clock.monotonic() > deadline:
                return
            await asyncio.sleep(0.01)

    async def _look(self, handle: types.Handle) -> Observed | None:
        self._check_node(handle.node)
        return await asyncio.to_thread(runs.find, self._records, handle.name)

    def _list(self) -> Sequence[types.Observation]:
        self._records.sweep()
        processes = self._all_processes()
        names = set(self._records.names())
        # Removed runs are forgotten, so that this cannot grow forever.
        self._samples = {name: sample for name, sample in self._samples.items() if name in names}
        observed = [one for name in names if (one := runs.find(self._records, name)) is not None]
        if processes is not None:
            self._audit.look(processes, observed)
        return [one.observation() for one in observed]

    def _all_processes(self) -> Sequence[proc.Process] | None:
        """Return all processes if an audit is due. Without root, runs share our user with unrelated processes: no audit."""
        if os.geteuid() != 0 or clock.monotonic() < self._next_audit:
            return None
        self._next_audit = clock.monotonic() + AUDIT
        return proc.snapshot()

    def _report(self) -> types.NodeReport:
        shared = self._config.shared_dir
        disk = shutil.disk_usage(shared if shared.is_dir() else Path("/"))
        memory = self._config.process_memory
        return types.NodeReport(
            name=NODE,
            executor=self.name,
            ready=True,
            reason=None,
            cpus=self._config.process_cpus or float(os.cpu_count() or 1),
            memory=round(memory * GB) if memory is not None else psutil.virtual_memory().total,
            disk_used=disk.used,
            disk_total=disk.total,
            gpus=tuple(self._config.process_gpus),
            version=os.uname().release,
        )

    def _check_node(self, node: str) -> None:
        if node != NODE:
            raise errors.NodeUnavailable(node, "it is not configured")
