"""Events of this machine's runs, from the records' directory and the ends of processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import structlog

from shared import clock
from shared.executors import types, watching
from shared.executors.process import proc, records, runs
from shared.executors.process.record import NODE

log = structlog.get_logger(__name__)

LOOK = 1.0  #: seconds between two scans of the records, for changes without a notification
LOOK_OFTEN = 0.1  #: the same where the kernel sends no notifications


async def watch(store: records.Records, watcher: watching.DirectoryWatcher) -> AsyncIterator[types.Event]:
    """Yield the events of this machine's runs, see `base.Executor.events`."""
    await asyncio.to_thread(store.prepare)
    following = _Following(store)
    with contextlib.ExitStack() as stack:
        stack.callback(following.close)
        look = LOOK
        try:
            stack.enter_context(watcher.listen(store.directory, following.on_file))
        except OSError as error:
            log.warning("events.polling", reason=str(error), seconds=LOOK_OFTEN)
            look = LOOK_OFTEN
        yield types.Event(NODE, types.EventKind.RESYNC)
        following.on_file(None)
        while True:
            name = None
            # Not `wait_for`: until Python 3.12 it can swallow a cancellation, and this loop would never end.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(look):
                    name = await following.changed.get()
            for one in [name] if name else await asyncio.to_thread(following.all_names):
                for event in await asyncio.to_thread(following.look, one):
                    yield event
                following.attend(one)


class _Following:
    """The runs that were seen, and the processes whose ends are awaited."""

    def __init__(self, store: records.Records) -> None:
        self._records = store
        self._loop = asyncio.get_running_loop()
        self._states: dict[str, types.RunState] = {}
        self._handles: dict[str, types.Handle] = {}
        self._processes: dict[str, proc.Process] = {}
        self._descriptors: dict[str, int] = {}
        self.changed: asyncio.Queue[str | None] = asyncio.Queue()  #: names of runs; None: check all

    def on_file(self, file_name: str | None) -> None:
        if file_name is None:
            self.changed.put_nowait(None)
        elif name := records.run_name(file_name):
            self.changed.put_nowait(name)

    def all_names(self) -> list[str]:
        return sorted({*self._records.names(), *self._states})

    def look(self, name: str) -> list[types.Event]:
        """Return the events of a run since the last check."""
        before = self._states.get(name, types.RunState.CREATED)
        if before is types.RunState.EXITED:
            return [] if self._records.exists(name) else self._removed(name)
        observed = runs.find(self._records, name)
        if observed is None:
            return self._removed(name)
        self._states[name] = observed.state
        handle = self._handles[name] = observed.record.handle
        events = []
        if before is types.RunState.CREATED and observed.state is not types.RunState.CREATED:
            events.append(types.Event(NODE, types.EventKind.STARTED, handle, at=observed.record.started_at))
        if observed.state is types.RunState.EXITED:
            at = observed.ended_at or clock.now()
            events.append(
                types.Event(
                    NODE,
                    types.EventKind.EXITED,
                    handle,
                    observed.code,
                    at,
                    reason=observed.reason,
                    by_signal=observed.by_signal,
                    lost=observed.lost,
                )
            )
        elif observed.process is not None:
            self._processes[name] = observed.process
        return events

    def attend(self, name: str) -> None:
        """Put the run's name into `changed` when its process ends."""
        process = self._processes.pop(name, None)
        if name in self._descriptors:
            if process is None:
                self._unwatch(name)  # its record has the end, although its shim still lives
            return
        if process is None:
            return
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            self.changed.put_nowait(name)
            return
        except OSError as error:
            log.warning("events.process_not_watched", run=name, reason=str(error))
            return
        # If the pid was reused between the check and the opening, the descriptor is of another process: ignore it.
        now = proc.read(process.pid)
        if now is None or not now.is_alive or now.start != process.start:
            os.close(descriptor)
            self.changed.put_nowait(name)
            return
        self._descriptors[name] = descriptor
        self._loop.add_reader(descriptor, self._on_ended, name)

    def close(self) -> None:
        for name in list(self._descriptors):
            self._unwatch(name)

    def _on_ended(self, name: str) -> None:
        self._unwatch(name)
        self.changed.put_nowait(name)

    def _unwatch(self, name: str) -> None:
        descriptor = self._descriptors.pop(name)
        self._loop.remove_reader(descriptor)
        os.close(descriptor)

    def _removed(self, name: str) -> list[types.Event]:
        handle = self._handles.pop(name, None)
        if self._states.pop(name, None) is None or handle is None:
            return []
        return [types.Event(NODE, types.EventKind.REMOVED, handle, at=clock.now())]
