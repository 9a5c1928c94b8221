"""Record what became of runs: that they run, that they ended and how, or that they are to run again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from services.watcher.reconcile import accounting, outcome, restarts
from services.watcher.reconcile.diff import LookForMissing, NoteEnd, NoteRunning
from services.watcher.reconcile.outcome import Outcome
from services.watcher.reconcile.settle import Settler
from shared import clock, errors
from shared.broker.broker import Broker
from shared.executors.base import Executor
from shared.executors.types import Circumstances, Feature, Handle, Observation, RunState
from shared.lifecycle import STOPPING, TaskStatus
from shared.models import transitions
from shared.models.attempt_files import Result
from shared.models.task import Task
from shared.models.transitions import Transition
from shared.models.work import Placed
from shared.observe import metrics
from shared.rules import scripts
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

_READS = 8


class Recorder:
    """Writes the ends of one node's runs."""

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
        self._settings = settings
        self._down = settings.node_lost_after
        self._reads = asyncio.Semaphore(_READS)

    async def note_running(self, actions: Sequence[NoteRunning]) -> None:
        """Write that these run."""
        now = clock.now()
        started = await asyncio.gather(*(self._started_at(action) for action in actions))
        moves = [
            transitions.run(action.task, started_at=at or now, at=now)
            for action, at in zip(actions, started, strict=True)
        ]
        await self._stores.tasks.transition_many(moves)

    async def _started_at(self, action: NoteRunning) -> float | None:
        """When the run started; a list does not say it, and the scheduler that knew died before it wrote it down."""
        if action.started_at is not None:
            return action.started_at
        async with self._reads:
            task = action.task
            seen = await self._executor.inspect(Handle(task.node, task.id, task.attempt, task.system))
        return seen.started_at if seen else None

    async def note_ends(self, actions: Sequence[NoteEnd | LookForMissing]) -> list[Handle]:
        """
        Write that these ended. Return the handles whose record was moved by somebody else meanwhile. Raises
        `errors.StoreUnavailable`, and `errors.NodeUnavailable` when those that could be judged are written.
        """
        if not actions:
            return []
        judged = await asyncio.gather(*(self._judge(action) for action in actions), return_exceptions=True)
        failures = [found for found in judged if isinstance(found, BaseException)]
        again = await self._write(
            [
                (action.task, found)
                for action, found in zip(actions, judged, strict=True)
                if isinstance(found, outcome.Outcome)
            ],
            there=True,
        )
        if failures:
            raise failures[0]
        return again

    async def lose(self, tasks: Sequence[Placed], *, silent: float) -> None:
        """
        Write what becomes of tasks whose node has not answered for `silent` seconds and is not waited for any longer. Raises
        `errors.StoreUnavailable`.
        """
        now = clock.now()
        results = await asyncio.gather(*(self._result(task) for task in tasks))
        found = [outcome.of_lost(task, left, silent=silent, now=now) for task, left in zip(tasks, results, strict=True)]
        await self._write(list(zip(tasks, found, strict=True)), there=False)

    async def _write(self, ends: Sequence[tuple[Placed, Outcome]], *, there: bool) -> list[Handle]:
        """`there`: the node answers, so that the runs of attempts that others follow can be removed."""
        if not ends:
            return []
        now = clock.now()
        moving = [task.id for task, found in ends if found.again or restarts.is_node_failure(found)]
        wholes = {whole.id: whole for whole in await self._stores.work.whole(moving)} if moving else {}
        written = [(task, found, self._move(task, found, wholes.get(task.id), now)) for task, found in ends]
        back = [(task, found) for task, found, move in written if move is not None and move.new is TaskStatus.PENDING]
        # The usage of an attempt that another will follow is counted before the task moves on: after it, nothing would
        # say that this attempt is still owed.
        rows = [accounting.row_of_task(wholes[task.id], found) for task, found in back]
        await self._stores.usage.add_many([row for row in rows if row is not None])
        winners = await self._stores.tasks.transition_many([move for _, _, move in written if move is not None])
        won = [(task, found) for task, found in ends if task.id in winners]
        await self._requeue([task for task, _ in back if task.id in winners], there=there)
        self._measure(won, now)
        await self._tell([(task.id, task.attempt) for task, _ in won])
        self._settler.wake()
        return [Handle(task.node, task.id, task.attempt, task.system) for task, _ in ends if task.id not in winners]

    def _move(self, task: Placed, found: Outcome, whole: Task | None, now: float) -> Transition | None:
        """None where the task was moved by somebody else since it was read."""
        if not found.again and not restarts.is_node_failure(found):
            return restarts.finish(task, found, now)
        if whole is None or whole.attempt != task.attempt or whole.status is not task.status:
            return None
        if found.again:
            return restarts.reschedule(task, now)
        return restarts.after_node_failure(task, whole, found, policy=self._settings.failure_policy, now=now)

    async def _judge(self, action: NoteEnd | LookForMissing) -> Outcome | None:
        async with self._reads:
            task = action.task
            if isinstance(action, NoteEnd) and action.believed:
                return outcome.of_exit(task, action.seen, None, looked=False, now=clock.now())
            if isinstance(action, NoteEnd):
                return await self._judge_exit(task, action.seen)
            seen = await self._executor.inspect(action.handle)
            if seen is not None:
                return None  # it is there after all
            result, boot = await self._result(task), await self._executor.booted(task.node)
            # Now, not when we began to look: a beginning is so many seconds ago as of its answer.
            return outcome.of_missing(task, result, boot=boot, now=clock.now())

    async def _judge_exit(self, task: Placed, seen: Observation) -> Outcome | None:
        doubtful = outcome.is_doubtful(seen) or outcome.may_never_have_begun(seen)
        looked = doubtful and Feature.IMAGES in self._executor.features()
        looked = looked or (task.started_at is None and seen.started_at is None)
        if outcome.is_doubtful(seen) and not seen.out_of_memory:
            # An event says no more than the code; the engine also knows whether it was the memory, or somebody who removes it.
            seen = await self._executor.inspect(seen.handle) or replace(seen, removed=True)
            if seen.state is RunState.CREATED:
                return None  # it was never started, and what is being removed is no run
        # Of a start that failed and is undone: whoever tries it makes the container again, or says that it cannot be started.
        undone = seen.removed and task.status is TaskStatus.STARTING and seen.started_at is None
        result = await self._result(task) if looked else None
        if undone and result is None and task.intent not in STOPPING:
            return None
        asked = outcome.may_be_the_node(task, seen, result)
        boot = await self._executor.booted(task.node) if asked else None
        around, interpreter = await self._circumstances(task, seen, result), await self._interpreter(task, seen)
        return outcome.of_exit(
            task,
            seen,
            result,
            looked=looked,
            boot=boot,
            down=self._down,
            around=around,
            interpreter=interpreter,
            now=clock.now(),
        )

    async def _circumstances(self, task: Placed, seen: Observation, result: Result | None) -> Circumstances:
        image = result is None and outcome.may_never_have_begun(seen)
        if not image and not outcome.may_be_anothers_doing(task, seen):
            return Circumstances()
        return await self._executor.circumstances(seen.handle, image=image)

    async def _interpreter(self, task: Placed, seen: Observation) -> str | None:
        """The program that the first line of its script names, where that may be why it ended."""
        if seen.exit_code not in (126, 127):
            return None
        wholes = await self._stores.work.whole([task.id])
        return scripts.interpreter(wholes[0].spec.cmd) if wholes else None

    async def _result(self, task: Placed) -> Result | None:
        if Feature.IMAGES not in self._executor.features():
            return None  # the executor itself waits for its commands; the files are the task's to write
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
        for _, found in won:
            metrics.ENDED.labels(ending=found.ending).inc()
            metrics.EXIT_TO_OVER.observe(max(0.0, now - found.ended_at))

    async def _requeue(self, tasks: Sequence[Placed], *, there: bool) -> None:
        """Remove the runs of attempts that others follow, and tell the scheduler. Both are found again if it fails here."""
        if not tasks:
            return
        try:
            for task in tasks if there else ():
                await self._executor.remove(Handle(task.node, task.id, task.attempt, task.system))
            await self._broker.enqueue([task.id for task in tasks])
        except errors.Unavailable as error:
            log.warning("reschedule.left_to_polls", error=str(error))
