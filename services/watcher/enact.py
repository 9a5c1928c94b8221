"""Do what reconciling decided: record, stop, remove. Every action can be done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from services.watcher import outcome
from services.watcher.outcome import Outcome
from services.watcher.reconcile import Action, LookForMissing, NoteEnd, NoteRunning, RemoveStray, Stop
from services.watcher.settle import Settler
from shared import clock, errors, metrics
from shared.broker.broker import Broker
from shared.executors.base import Executor, Feature, Handle, Observation
from shared.lifecycle import Ending, TaskStatus
from shared.settings import Settings
from shared.storage.directories import Result, TaskDirectories
from shared.store.stores import Stores
from shared.store.tasks import Transition
from shared.store.work import Placed

log = structlog.get_logger(__name__)

_STOPS = 256  #: stops under way at a time: each waits for up to the grace
_READS = 8


class Enactor:
    """Carries out the actions for one node."""

    def __init__(
        self,
        stores: Stores,
        broker: Broker,
        executor: Executor,
        directories: TaskDirectories,
        settler: Settler,
        settings: Settings,
    ) -> None:
        self._stores = stores
        self._broker = broker
        self._executor = executor
        self._directories = directories
        self._settler = settler
        self._grace = settings.kill_grace
        self._stops: dict[Handle, asyncio.Task[None]] = {}
        self._reads = asyncio.Semaphore(_READS)

    async def enact(self, actions: Sequence[Action]) -> list[Handle]:
        """
        Do the actions. Return the handles whose record was moved by somebody else meanwhile: they want another
        look. Raises `errors.StoreUnavailable` and `errors.NodeUnavailable`.
        """
        for action in actions:
            metrics.ACTIONS.labels(action=type(action).__name__).inc()
        await self._note_running([action for action in actions if isinstance(action, NoteRunning)])
        lost = await self._note_ends([action for action in actions if isinstance(action, NoteEnd | LookForMissing)])
        for action in actions:
            if isinstance(action, Stop):
                self._begin_stop(action.handle)
            elif isinstance(action, RemoveStray):
                log.warning("run.stray_removed", run=action.handle.name, node=action.handle.node, why=action.why)
                await self._executor.remove(action.handle)
        return lost

    async def drain(self) -> None:
        """Leave the stops under way to the executors: the intent is written, and the next watcher sees it."""
        for stop in list(self._stops.values()):
            stop.cancel()
        if self._stops:
            await asyncio.wait(self._stops.values(), timeout=1.0)

    # --- records --------------------------------------------------------------------------

    async def _note_running(self, actions: Sequence[NoteRunning]) -> None:
        now = clock.now()
        started = await asyncio.gather(*(self._started_at(action) for action in actions))
        moves = [
            Transition(
                action.task.id,
                action.task.attempt,
                TaskStatus.STARTING,
                TaskStatus.RUNNING,
                at=now,
                fields={"started_at": at or now},
            )
            for action, at in zip(actions, started, strict=True)
        ]
        await self._stores.tasks.transition_many(moves)

    async def _started_at(self, action: NoteRunning) -> float | None:
        """When the run started; a list does not say it, and the scheduler that knew died before it wrote it down."""
        if action.started_at is not None:
            return action.started_at
        async with self._reads:
            seen = await self._executor.inspect(Handle(action.task.node, action.task.id, action.task.attempt))
        return seen.started_at if seen else None

    async def _note_ends(self, actions: Sequence[NoteEnd | LookForMissing]) -> list[Handle]:
        if not actions:
            return []
        judged = await asyncio.gather(*(self._judge(action) for action in actions))
        ends = [(action.task, found) for action, found in zip(actions, judged, strict=True) if found is not None]
        now = clock.now()
        winners = await self._stores.tasks.transition_many([_end(task, found, now) for task, found in ends])
        won = [(task, found) for task, found in ends if task.id in winners]
        self._measure(won, now)
        await self._tell([(task.id, task.attempt) for task, _ in won])
        self._settler.wake()
        return [Handle(task.node, task.id, task.attempt) for task, _ in ends if task.id not in winners]

    async def _judge(self, action: NoteEnd | LookForMissing) -> Outcome | None:
        async with self._reads:
            task, now = action.task, clock.now()
            if isinstance(action, NoteEnd):
                return await self._judge_exit(task, action.seen, now)
            seen = await self._executor.inspect(action.handle)
            if seen is not None:
                return None  # it is there after all
            return outcome.of_missing(task, await self._result(task), now=now)

    async def _judge_exit(self, task: Placed, seen: Observation, now: float) -> Outcome:
        looked = outcome.is_doubtful(seen) and Feature.IMAGES in self._executor.features()
        looked = looked or (task.started_at is None and seen.started_at is None)
        if outcome.is_doubtful(seen) and not seen.out_of_memory:
            # An event says no more than the code; the engine also knows whether it was the memory.
            seen = await self._executor.inspect(seen.handle) or seen
        result = await self._result(task) if looked else None
        return outcome.of_exit(task, seen, result, looked=looked, now=now)

    async def _result(self, task: Placed) -> Result | None:
        try:
            return await self._directories.read_result(task.id, task.attempt)
        except errors.StorageError as error:
            log.warning("result.not_read", task_id=task.id, error=str(error))
            return None

    async def _tell(self, attempts: Sequence[tuple[int, int]]) -> None:
        if not attempts:
            return
        try:
            await self._broker.tell_scheduler_ended(attempts)
        except errors.BrokerUnavailable:
            log.warning("ends.not_told", count=len(attempts))  # the scheduler's audit finds them

    @staticmethod
    def _measure(won: Sequence[tuple[Placed, Outcome]], now: float) -> None:
        for task, found in won:
            metrics.ENDED.labels(ending=found.ending).inc()
            metrics.EXIT_TO_OVER.observe(max(0.0, now - found.ended_at))
            if found.ending is not Ending.EXITED or found.reason:
                log.info("task.ended", task_id=task.id, attempt=task.attempt, ending=found.ending, reason=found.reason)

    # --- stops ------------------------------------------------------------------------------

    def _begin_stop(self, handle: Handle) -> None:
        if handle in self._stops or len(self._stops) >= _STOPS:
            return
        stop = asyncio.create_task(self._stop(handle), name=f"stop-{handle.name}")
        self._stops[handle] = stop
        stop.add_done_callback(lambda _: self._stops.pop(handle, None))

    async def _stop(self, handle: Handle) -> None:
        log.info("task.stopping", task_id=handle.task_id, attempt=handle.attempt, grace=self._grace)
        try:
            await self._executor.stop(handle, grace=self._grace)
        except errors.GoDockerError as error:
            # The intent stays: the next pass begins again.
            log.warning("task.not_stopped", task_id=handle.task_id, attempt=handle.attempt, error=str(error))


def _end(task: Placed, found: Outcome, now: float) -> Transition:
    return Transition(
        task.id,
        task.attempt,
        task.status,
        TaskStatus.OVER,
        at=now,
        fields={
            "ending": found.ending,
            "exit_code": found.exit_code,
            "reason": found.reason,
            "started_at": found.started_at,
            "ended_at": found.ended_at,
            "intent": None,
            "settled": False,
        },
        note=found.reason,
    )
