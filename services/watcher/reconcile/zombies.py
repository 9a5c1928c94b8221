"""Find runs that have ended while their engine still reports them running: an engine can miss an end for good."""

from __future__ import annotations

import asyncio

import structlog

from services.watcher.reconcile.diff import NoteEnd
from services.watcher.reconcile.record_ends import Recorder
from shared import clock, errors
from shared.executors.base import Executor
from shared.executors.types import Feature, Handle, Observation, RunState
from shared.lifecycle import TaskStatus
from shared.models.attempt_files import Result
from shared.models.work import Placed
from shared.runtime import lifetime
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

_PASSES = 6  #: reconcile passes between two checks
_READS = 8


class ZombieCheck:
    """
    Compares the engine of one node with the wrappers' files. A wrapper writes its last line when the command has ended, and does
    nothing after it: a run that has the line in two checks is over, whatever its engine reports. A task that writes the line
    itself ends itself by that: its container is removed, and its usage counts until then.
    """

    def __init__(
        self,
        node: str,
        stores: Stores,
        executor: Executor,
        recorder: Recorder,
        directories: TaskDirectories,
        settings: Settings,
    ) -> None:
        self._node = node
        self._stores = stores
        self._executor = executor
        self._recorder = recorder
        self._directories = directories
        self._seconds = _PASSES * settings.reconcile_seconds
        self._reads = asyncio.Semaphore(_READS)
        self._suspects: set[Handle] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Check periodically until `stop`."""
        while await lifetime.pause(stop, self._seconds):
            try:
                await self._check()
            except errors.Unavailable as error:
                log.warning("zombies.not_checked", node=self._node, error=str(error))

    async def _check(self) -> None:
        if Feature.IMAGES not in self._executor.features():
            return  # no engine stands between us and the runs, and the task itself can write these files
        running = [task for task in await self._stores.work.placed(self._node) if task.status is TaskStatus.RUNNING]
        results = await asyncio.gather(*(self._result(task) for task in running))
        ended = {
            Handle(task.node, task.id, task.attempt, task.system): (task, result)
            for task, result in zip(running, results, strict=True)
            if result is not None and result.exit_code is not None
        }
        for handle in self._suspects & ended.keys():
            task, result = ended[handle]
            await self._settle(handle, task, result)
        self._suspects = set(ended)

    async def _settle(self, handle: Handle, task: Placed, result: Result) -> None:
        seen = await self._executor.inspect(handle)
        if seen is None or seen.state is RunState.EXITED:
            return  # the engine knows it, and reconciling records it
        log.warning("run.zombie", run=handle.name, node=handle.node, exit_code=result.exit_code)
        end = Observation(
            handle,
            RunState.EXITED,
            exit_code=result.exit_code,
            started_at=seen.started_at,
            # Not the file's time: the task could set an early one and would not be charged for what it ran since.
            ended_at=clock.now(),
        )
        await self._recorder.note_ends([NoteEnd(task, end, final=True)])

    async def _result(self, task: Placed) -> Result | None:
        async with self._reads:
            try:
                return await self._directories.read_result(task.place, task.attempt)
            except errors.StorageError:
                return None
