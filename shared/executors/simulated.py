"""An executor that runs nothing, for benchmarks of everything around it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from shared import clock, errors, settings
from shared.executors import scripts, simulated_runs, types, watching
from shared.units.sizes import GB

CPUS, MEMORY = 1024.0, 4096 * 1024**3  #: of a node whose size is not configured
_SCRIPT_LIMIT = 4096  #: bytes of a script that are read


class SimulatedExecutor:
    """
    A `base.Executor` without processes. Scheduler and watcher share a directory per node, with one link per run
    (`simulated_runs`). Calls stay in the loop's thread: each is a few system calls on a local directory, cheaper than a thread.
    """

    name = "simulated"

    def __init__(self, config: settings.Settings, owner: types.Owner | None = None) -> None:
        self._owner = owner
        self._root = config.data_dir.absolute() / "simulated"
        self._nodes: dict[str, settings.Node] = {}
        self._runs: dict[str, simulated_runs.Runs] = {}
        self._set(config.docker_nodes)
        self._watcher = watching.DirectoryWatcher()

    @property
    def owner(self) -> types.Owner | None:
        return self._owner

    def features(self) -> frozenset[types.Feature]:
        # Everything is accepted: it is the rest of the system that is measured.
        return frozenset(types.Feature)

    async def set_nodes(self, nodes: Sequence[settings.Node]) -> None:
        self._set(nodes)

    def node_names(self) -> Sequence[str]:
        return list(self._nodes)

    async def nodes(self) -> Sequence[types.NodeReport]:
        return [
            types.NodeReport(
                name=node.name,
                executor=self.name,
                ready=True,
                reason=None,
                cpus=node.cpus if node.cpus is not None else CPUS,
                memory=round(node.memory * GB) if node.memory is not None else MEMORY,
                gpus=tuple(node.gpus),
                labels=node.labels,
            )
            for node in self._nodes.values()
        ]

    async def prepare(self, run: types.Run) -> None:
        self._of(run.handle.node)

    async def start(self, run: types.Run) -> float:
        runs, now = self._of(run.handle.node), clock.now()
        script = scripts.parse(_read_script(run.directory))
        new = simulated_runs.Simulated(now, now + script.seconds, script.exit_code, script.ignores_term)
        if runs.add(run.handle.name, new):
            return now
        existing = runs.read(run.handle.name)
        return existing.started_at if existing else now

    async def booted(self, node: str) -> types.Boot | None:
        return None

    async def list(self, node: str) -> Sequence[types.Observation]:
        now = clock.now()
        runs = self._of(node)
        return [run.observation(_handle(node, name), now) for name in runs.names() if (run := runs.read(name))]

    async def inspect(self, handle: types.Handle) -> types.Observation | None:
        run = self._of(handle.node).read(handle.name)
        return run.observation(handle, clock.now()) if run else None

    async def events(self, node: str) -> AsyncIterator[types.Event]:
        changed: asyncio.Queue[str | None] = asyncio.Queue()
        runs = self._of(node)
        following = _Following(node, runs, changed)
        with contextlib.closing(following), self._watcher.listen(runs.directory, changed.put_nowait):
            yield types.Event(node, types.EventKind.RESYNC)
            for name in runs.names():
                changed.put_nowait(name)
            while True:
                change = await changed.get()
                if change is None:
                    yield types.Event(node, types.EventKind.RESYNC)
                    continue
                for event in following.look(change):
                    yield event

    async def stop(self, handle: types.Handle, *, grace: float) -> None:
        runs = self._of(handle.node)
        run = runs.read(handle.name)
        if run is None or run.has_ended(clock.now()):
            return
        if run.ignores_term:
            await asyncio.sleep(min(grace, max(0.0, run.ends_at - clock.now())))
        runs.replace(handle.name, run.stopped(clock.now()))

    async def pause(self, handle: types.Handle) -> None:
        runs, now = self._of(handle.node), clock.now()
        run = runs.read(handle.name)
        if run is not None and not run.has_ended(now):
            runs.replace(handle.name, run.paused(now))

    async def resume(self, handle: types.Handle) -> None:
        runs = self._of(handle.node)
        if run := runs.read(handle.name):
            runs.replace(handle.name, run.resumed(clock.now()))

    async def remove(self, handle: types.Handle) -> None:
        self._of(handle.node).remove(handle.name)

    async def circumstances(self, handle: types.Handle, *, image: bool) -> types.Circumstances:
        return types.Circumstances()

    async def stats(self, handle: types.Handle) -> types.Stats | None:
        observation = await self.inspect(handle)
        if observation is None or observation.state is types.RunState.EXITED:
            return None
        return types.Stats(clock.now(), 100.0, 1024**2, 0, 0, 0, 1)

    async def close(self) -> None:
        self._watcher.close()

    def _set(self, nodes: Sequence[settings.Node]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._runs = {name: self._runs.get(name) or simulated_runs.Runs(self._root / name) for name in self._nodes}

    def _of(self, node: str) -> simulated_runs.Runs:
        try:
            return self._runs[node]
        except KeyError:
            raise errors.NodeUnavailable(node, "it is not configured") from None


class _Following:
    """Reported states of a node's runs, with timers for their ends."""

    def __init__(self, node: str, runs: simulated_runs.Runs, changed: asyncio.Queue[str | None]) -> None:
        self._node = node
        self._runs = runs
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._told: dict[str, types.RunState] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def look(self, name: str) -> list[types.Event]:
        """Return the events of a run since the last look."""
        if types.parse_name(name) is None:
            return []
        handle, now = _handle(self._node, name), clock.now()
        if timer := self._timers.pop(name, None):
            timer.cancel()
        run = self._runs.read(name)
        if run is None:
            known = self._told.pop(name, None)
            return [types.Event(self._node, types.EventKind.REMOVED, handle, at=now)] if known else []
        events = []
        if name not in self._told:
            events.append(types.Event(self._node, types.EventKind.STARTED, handle, at=run.started_at))
            self._told[name] = types.RunState.RUNNING
        if self._told[name] is not types.RunState.EXITED:
            if run.has_ended(now):
                self._told[name] = types.RunState.EXITED
                events.append(types.Event(self._node, types.EventKind.EXITED, handle, run.exit_code, run.ends_at))
            elif run.paused_at is None:
                wait = max(run.ends_at - now, 0.001)
                self._timers[name] = self._loop.call_later(wait, self._changed.put_nowait, name)
        return events

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()


def _handle(node: str, name: str) -> types.Handle:
    parsed = types.parse_name(name)
    assert parsed is not None
    return types.Handle(node, *parsed)


def _read_script(directory: str) -> str:
    try:
        descriptor = os.open(Path(directory) / "cmd.sh", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _SCRIPT_LIMIT).decode(errors="replace")
    finally:
        os.close(descriptor)
