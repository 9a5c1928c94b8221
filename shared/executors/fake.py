"""
An executor in memory that misbehaves on request, for tests of everything above executors.

By default it behaves, and runs the script lines that `scripts` knows. Tests then take away a node, an answer, a run, an event.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from shared import clock, errors, settings
from shared.executors import scripts, types
from shared.rules.exit_codes import EXIT_KILLED, EXIT_TERMINATED

NODE = types.NodeReport("node1", "fake", True, None, cpus=8.0, memory=16 * 1024**3)


@dataclass
class Faults:
    """Faults to inject. Tests set and clear them at will."""

    #: Nodes that do not answer, each with the reason.
    down: dict[str, str] = field(default_factory=dict)
    #: Runs (by name) that `prepare` or `start` refuses, each with the error.
    refuse_prepare: dict[str, errors.StartFailed] = field(default_factory=dict)
    refuse_start: dict[str, errors.StartFailed] = field(default_factory=dict)
    #: Runs whose next start succeeds but still raises `NodeUnavailable`.
    lose_answer: set[str] = field(default_factory=set)
    #: Runs whose next start stops at `created` and raises `NodeUnavailable`.
    only_create: set[str] = field(default_factory=set)
    #: Calls (`start`, `stop`, `list` …) that do not return until their event is set.
    hang: dict[str, asyncio.Event] = field(default_factory=dict)
    #: Runs that `list` leaves out.
    omit: set[str] = field(default_factory=set)
    #: Drop all events but RESYNC.
    drop_events: bool = False
    #: Runs that survive SIGTERM and SIGKILL.
    unkillable: set[str] = field(default_factory=set)


class FakeExecutor:
    """An in-memory `base.Executor`. `faults` are injected; `starts` lists the starts that ran a command, in order."""

    name = "fake"
    owner = None

    def __init__(self, nodes: Sequence[types.NodeReport] = (NODE,), *, now: clock.Clock = clock.now) -> None:
        self.reports = {node.name: node for node in nodes}
        self.available: frozenset[types.Feature] = frozenset(types.Feature)
        self.faults = Faults()
        self.starts: list[types.Handle] = []
        self.calls: list[tuple[str, types.Handle]] = []
        self.runs: dict[types.Handle, types.Run] = {}
        self.boots: dict[str, float] = {}
        self._now = now
        self._seen: dict[types.Handle, types.Observation] = {}
        self._taken: set[tuple[int, int]] = set()
        self._ignores_term: set[types.Handle] = set()
        self._ends: dict[types.Handle, tuple[float, int]] = {}  #: seconds left and exit code
        self._timers: dict[types.Handle, asyncio.TimerHandle] = {}
        self._listeners: defaultdict[str, list[asyncio.Queue[types.Event]]] = defaultdict(list)

    # --- controls for tests

    def exit(self, handle: types.Handle, code: int = 0, *, out_of_memory: bool = False) -> None:
        """End the command as if by itself."""
        self._end(handle, code, out_of_memory=out_of_memory)

    def vanish(self, handle: types.Handle) -> None:
        """Remove the run as an outsider would."""
        self._drop(handle)

    def reboot(self, node: str, *, code: int = EXIT_KILLED, wiped: bool = False) -> None:
        """Reboot the node: its runs end with `code`, or disappear (`wiped`)."""
        for handle in [handle for handle in self._seen if handle.node == node]:
            self._end(handle, code)
            if wiped:
                self._drop(handle)
        self.boots[node] = self._now()
        self.resync(node)

    def resync(self, node: str) -> None:
        """Break and reconnect the event stream."""
        self._emit(types.Event(node, types.EventKind.RESYNC))

    def state(self, handle: types.Handle) -> types.RunState | None:
        return self._seen[handle].state if handle in self._seen else None

    @property
    def alive(self) -> Mapping[types.Handle, types.RunState]:
        """Running and paused runs with their states."""
        live = (types.RunState.RUNNING, types.RunState.PAUSED)
        return {handle: seen.state for handle, seen in self._seen.items() if seen.state in live}

    # --- the protocol

    def features(self) -> frozenset[types.Feature]:
        return self.available

    async def set_nodes(self, nodes: Sequence[settings.Node]) -> None:
        """Do nothing: the nodes are those of `reports`, whatever is configured."""

    def node_names(self) -> Sequence[str]:
        return list(self.reports)

    async def nodes(self) -> Sequence[types.NodeReport]:
        down = self.faults.down
        return [
            types.NodeReport(name, self.name, False, down[name], 0.0, 0, answered=False) if name in down else report
            for name, report in self.reports.items()
        ]

    async def prepare(self, run: types.Run) -> None:
        await self._called("prepare", run.handle)
        if error := self.faults.refuse_prepare.get(run.handle.name):
            raise error

    async def start(self, run: types.Run) -> float:
        await self._called("start", run.handle)
        name = run.handle.name
        if error := self.faults.refuse_start.get(name):
            raise error
        self.runs[run.handle] = run
        if name in self.faults.only_create:
            self.faults.only_create.discard(name)
            self._seen.setdefault(run.handle, types.Observation(run.handle, types.RunState.CREATED))
            raise errors.NodeUnavailable(run.handle.node, "no answer")
        if self.state(run.handle) in (None, types.RunState.CREATED):
            self._run(run)
        if name in self.faults.lose_answer:
            self.faults.lose_answer.discard(name)
            raise errors.NodeUnavailable(run.handle.node, "no answer")
        return self._seen[run.handle].started_at or self._now()

    async def booted(self, node: str) -> types.Boot | None:
        await self._called("booted", types.Handle(node, 0, 0))
        at = self.boots.get(node)
        return types.Boot(at, self._now() - at) if at is not None else None

    async def list(self, node: str) -> Sequence[types.Observation]:
        await self._called("list", types.Handle(node, 0, 0))
        return [
            seen for handle, seen in self._seen.items() if handle.node == node and handle.name not in self.faults.omit
        ]

    async def inspect(self, handle: types.Handle) -> types.Observation | None:
        await self._called("inspect", handle)
        seen, run = self._seen.get(handle), self.runs.get(handle)
        return replace(seen, given=types.Given(run.gpus, run.ports)) if seen and run else seen

    async def events(self, node: str) -> AsyncIterator[types.Event]:
        queue: asyncio.Queue[types.Event] = asyncio.Queue()
        self._listeners[node].append(queue)
        try:
            yield types.Event(node, types.EventKind.RESYNC)
            while True:
                yield await queue.get()
        finally:
            self._listeners[node].remove(queue)

    async def stop(self, handle: types.Handle, *, grace: float) -> None:
        await self._called("stop", handle)
        if handle not in self.alive:
            return
        if handle.name in self.faults.unkillable:
            raise errors.NodeUnavailable(handle.node, f"{handle.name} still runs after it was killed")
        if handle in self._ignores_term:
            await asyncio.sleep(grace)
        self._end(handle, EXIT_KILLED if handle in self._ignores_term else EXIT_TERMINATED)

    async def pause(self, handle: types.Handle) -> None:
        await self._called("pause", handle)
        if self.state(handle) is not types.RunState.RUNNING:
            return
        self._seen[handle] = replace(self._seen[handle], state=types.RunState.PAUSED)
        if timer := self._timers.pop(handle, None):
            self._ends[handle] = (timer.when() - asyncio.get_running_loop().time(), self._ends[handle][1])
            timer.cancel()

    async def resume(self, handle: types.Handle) -> None:
        await self._called("resume", handle)
        if self.state(handle) is types.RunState.PAUSED:
            self._seen[handle] = replace(self._seen[handle], state=types.RunState.RUNNING)
            self._set_timer(handle)

    async def remove(self, handle: types.Handle) -> None:
        await self._called("remove", handle)
        if handle.name in self.faults.unkillable:
            raise errors.NodeUnavailable(handle.node, f"{handle.name} cannot be removed")
        self._drop(handle)

    async def circumstances(self, handle: types.Handle, *, image: bool) -> types.Circumstances:
        return types.Circumstances()

    async def stats(self, handle: types.Handle) -> types.Stats | None:
        await self._called("stats", handle)
        if handle not in self.alive:
            return None
        return types.Stats(self._now(), 100.0, 1024**2, self.runs[handle].memory, 0, 0, 1)

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    # --- helpers

    async def _called(self, call: str, handle: types.Handle) -> None:
        self.calls.append((call, handle))
        if gate := self.faults.hang.get(call):
            await gate.wait()
        if handle.node not in self.reports:
            raise errors.NodeUnavailable(handle.node, "it is not configured")
        if reason := self.faults.down.get(handle.node):
            raise errors.NodeUnavailable(handle.node, reason)

    def _run(self, run: types.Run) -> None:
        handle = run.handle
        self._seen[handle] = types.Observation(handle, types.RunState.RUNNING, started_at=self._now())
        self._emit(types.Event(handle.node, types.EventKind.STARTED, handle, at=self._now()))
        if (handle.task_id, handle.attempt) in self._taken:
            # Like the wrapper: an attempt that has run anywhere does not run again.
            self._end(handle, 125)
            return
        self._taken.add((handle.task_id, handle.attempt))
        self.starts.append(handle)
        script = _script(run)
        if script is None:  # no such file: it runs until the test ends it
            return
        if script.ignores_term:
            self._ignores_term.add(handle)
        self._ends[handle] = (script.seconds, script.exit_code)
        self._set_timer(handle)

    def _set_timer(self, handle: types.Handle) -> None:
        if handle in self._ends:
            seconds, code = self._ends[handle]
            self._timers[handle] = asyncio.get_running_loop().call_later(seconds, self._end, handle, code)

    def _end(self, handle: types.Handle, code: int, *, out_of_memory: bool = False) -> None:
        if timer := self._timers.pop(handle, None):
            timer.cancel()
        seen = self._seen.get(handle)
        if seen is None or seen.state is types.RunState.EXITED:
            return
        self._seen[handle] = replace(
            seen,
            state=types.RunState.EXITED,
            exit_code=code,
            ended_at=self._now(),
            out_of_memory=out_of_memory,
        )
        if out_of_memory:
            self._emit(types.Event(handle.node, types.EventKind.OUT_OF_MEMORY, handle, at=self._now()))
        self._emit(types.Event(handle.node, types.EventKind.EXITED, handle, code, self._now()))

    def _drop(self, handle: types.Handle) -> None:
        self._end(handle, EXIT_KILLED)
        if self._seen.pop(handle, None) is not None:
            self._emit(types.Event(handle.node, types.EventKind.REMOVED, handle, at=self._now()))

    def _emit(self, event: types.Event) -> None:
        if self.faults.drop_events and event.kind is not types.EventKind.RESYNC:
            return
        for queue in self._listeners[event.node]:
            queue.put_nowait(event)


def _script(run: types.Run) -> scripts.Script | None:
    try:
        return scripts.parse((Path(run.directory) / "cmd.sh").read_text())
    except OSError:
        return None
