"""Record what became of runs: that they run, that they ended and how, or that they are to run again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from services.watcher import accounting, outcome
from services.watcher.outcome import Outcome
from services.watcher.reconcile import LookForMissing, NoteEnd, NoteRunning
from services.watcher.settle import Settler
from shared import clock, errors, metrics
from shared.broker.broker import Broker
from shared.executors.base import Executor, Feature, Handle, Observation
from shared.lifecycle import Ending, Intent, Remark, TaskStatus
from shared.storage.directories import Result, TaskDirectories
from shared.store.stores import Stores
from shared.store.tasks import Transition
from shared.store.work import Ended, Placed

log = structlog.get_logger(__name__)

_READS = 8


class Recorder:
    """Writes the ends of one node's runs."""

    def __init__(
        self, stores: Stores, broker: Broker, executor: Executor, directories: TaskDirectories, settler: Settler
    ) -> None:
        self._stores = stores
        self._broker = broker
        self._executor = executor
        self._directories = directories
        self._settler = settler
        self._reads = asyncio.Semaphore(_READS)

    async def note_running(self, actions: Sequence[NoteRunning]) -> None:
        """Write that these run."""
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

    async def note_ends(self, actions: Sequence[NoteEnd | LookForMissing]) -> list[Handle]:
        """
        Write that these ended. Return the handles whose record was moved by somebody else meanwhile. Raises
        `errors.StoreUnavailable` and `errors.NodeUnavailable`.
        """
        if not actions:
            return []
        judged = await asyncio.gather(*(self._judge(action) for action in actions))
        ends = [(action.task, found) for action, found in zip(actions, judged, strict=True) if found is not None]
        now = clock.now()
        # The usage of an attempt that another will follow is counted before the task moves on: after it, nothing would
        # say that this attempt is still owed.
        await self._count([(task, found) for task, found in ends if found.again])
        moves = [_again(task, now) if found.again else _end(task, found, now) for task, found in ends]
        winners = await self._stores.tasks.transition_many(moves)
        won = [(task, found) for task, found in ends if task.id in winners]
        await self._requeue([task for task, found in won if found.again])
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
            return await self._directories.read_result(task.place, task.attempt)
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

    async def _count(self, ends: Sequence[tuple[Placed, Outcome]]) -> None:
        if not ends:
            return
        wholes = {task.id: task for task in await self._stores.work.whole([task.id for task, _ in ends])}
        rows = []
        for task, found in ends:
            whole = wholes.get(task.id)
            if whole is not None and whole.attempt == task.attempt:
                ended = Ended(
                    id=task.id,
                    attempt=task.attempt,
                    node=task.node,
                    user=whole.user.id,
                    project=whole.project,
                    cpus=whole.spec.cpu,
                    ram=whole.spec.ram,
                    started_at=found.started_at,
                    ended_at=found.ended_at,
                )
                rows.append(accounting.row_of(ended))
        await self._stores.usage.add_many([row for row in rows if row is not None])

    async def _requeue(self, tasks: Sequence[Placed]) -> None:
        """Remove the runs of attempts that others follow, and tell the scheduler. Both are found again if it fails here."""
        if not tasks:
            return
        try:
            for task in tasks:
                await self._executor.remove(Handle(task.node, task.id, task.attempt))
            await self._broker.enqueue([task.id for task in tasks])
        except errors.Unavailable as error:
            log.warning("reschedule.left_to_polls", error=str(error))


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


def _again(task: Placed, now: float) -> Transition:
    """Back into the queue, behind those that wait there."""
    return Transition(
        task.id,
        task.attempt,
        task.status,
        TaskStatus.PENDING,
        at=now,
        fields={
            "queued_at": now,
            "started_at": None,
            "intent": None,
            "intent_at": None,
            "remark": Remark.RESCHEDULED,
            "reason": "rescheduled by its owner or an admin",
        },
        note="rescheduled",
        intents=[Intent.RESCHEDULE],
    )
