"""Record that runs run, how they ended, or that their tasks run again."""

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
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

_READS = 8
_OF_SHELLS = (2, 126, 127)  #: exit codes of a shell that cannot read a script, or run what it names


class Recorder:
    """Records the state of one node's runs."""

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
        """Record these tasks as running."""
        now = clock.now()
        started = await asyncio.gather(*(self._started_at(action) for action in actions))
        changes = [
            transitions.run(action.task, started_at=at or now, at=now)
            for action, at in zip(actions, started, strict=True)
        ]
        await self._stores.tasks.transition_many(changes)

    async def _started_at(self, action: NoteRunning) -> float | None:
        """Return when the run started. A list lacks it, and the scheduler that knew it died before writing it."""
        if action.started_at is not None:
            return action.started_at
        async with self._reads:
            task = action.task
            seen = await self._executor.inspect(Handle(task.node, task.id, task.attempt, task.system))
        return seen.started_at if seen else None

    async def note_ends(self, actions: Sequence[NoteEnd | LookForMissing]) -> list[Handle]:
        """
        Record these ends. Return the handles whose task changed meanwhile. Raises `errors.StoreUnavailable`, and
        `errors.NodeUnavailable` after all decided outcomes are written.
        """
        if not actions:
            return []
        outcomes = await asyncio.gather(*(self._outcome(action) for action in actions), return_exceptions=True)
        failures = [found for found in outcomes if isinstance(found, BaseException)]
        again = await self._write(
            [
                (action.task, found)
                for action, found in zip(actions, outcomes, strict=True)
                if isinstance(found, outcome.Outcome)
            ],
            reachable=True,
        )
        if failures:
            raise failures[0]
        return again

    async def lose(self, tasks: Sequence[Placed], *, silent: float) -> None:
        """
        Record the outcomes of tasks whose node is given up after not answering for `silent` seconds. Raises
        `errors.StoreUnavailable`.
        """
        now = clock.now()
        results = await asyncio.gather(*(self._result(task) for task in tasks))
        outcomes = [
            outcome.of_lost(task, left, silent=silent, now=now) for task, left in zip(tasks, results, strict=True)
        ]
        await self._write(list(zip(tasks, outcomes, strict=True)), reachable=False)

    async def _write(self, ends: Sequence[tuple[Placed, Outcome]], *, reachable: bool) -> list[Handle]:
        """Write outcomes. `reachable`: the node answers, so the runs of attempts with successors can be removed."""
        if not ends:
            return []
        now = clock.now()
        moving = [task.id for task, found in ends if found.again or restarts.is_node_failure(found)]
        wholes = {whole.id: whole for whole in await self._stores.work.whole(moving)} if moving else {}
        written = [(task, found, self._transition(task, found, wholes.get(task.id), now)) for task, found in ends]
        back = [
            (task, found) for task, found, change in written if change is not None and change.new is TaskStatus.PENDING
        ]
        # The usage of an attempt with a successor is accounted before the transition: after it, nothing would record that it
        # is still due.
        rows = [accounting.row_of_task(wholes[task.id], found) for task, found in back]
        await self._stores.usage.add_many([row for row in rows if row is not None])
        winners = await self._stores.tasks.transition_many([change for _, _, change in written if change is not None])
        won = [(task, found) for task, found in ends if task.id in winners]
        await self._requeue([task for task, _ in back if task.id in winners], reachable=reachable)
        self._measure(won, now)
        await self._send_hint([(task.id, task.attempt) for task, _ in won])
        self._settler.wake()
        return [Handle(task.node, task.id, task.attempt, task.system) for task, _ in ends if task.id not in winners]

    def _transition(self, task: Placed, found: Outcome, whole: Task | None, now: float) -> Transition | None:
        """Return the transition for an outcome; None where the task changed since it was read."""
        if not found.again and not restarts.is_node_failure(found):
            return restarts.finish(task, found, now)
        if whole is None or whole.attempt != task.attempt or whole.status is not task.status:
            return None
        if found.again:
            return restarts.reschedule(task, now)
        return restarts.after_node_failure(task, whole, found, policy=self._settings.failure_policy, now=now)

    async def _outcome(self, action: NoteEnd | LookForMissing) -> Outcome | None:
        async with self._reads:
            task = action.task
            if isinstance(action, NoteEnd) and action.final:
                return outcome.of_exit(task, action.seen, None, looked=False, now=clock.now())
            if isinstance(action, NoteEnd):
                return await self._outcome_of_exit(task, action.seen)
            seen = await self._executor.inspect(action.handle)
            if seen is not None:
                return None  # it exists after all
            result, boot = await self._result(task), await self._executor.booted(task.node)
            # The time now, not before the calls: a boot's age counts from its answer.
            return outcome.of_missing(task, result, boot=boot, now=clock.now())

    async def _outcome_of_exit(self, task: Placed, seen: Observation) -> Outcome | None:
        doubtful = outcome.is_doubtful(seen) or outcome.may_never_have_begun(seen)
        looked = doubtful and Feature.IMAGES in self._executor.features()
        looked = looked or (task.started_at is None and seen.started_at is None)
        if outcome.is_doubtful(seen) and not seen.out_of_memory:
            # An event has only the code; the engine also knows about memory, and about a removal by somebody else.
            seen = await self._executor.inspect(seen.handle) or replace(seen, removed=True)
            if seen.state is RunState.CREATED:
                return None  # it was never started: a created container is being removed, not a run
        # The container of a failed start that is being undone: the next start makes it again, or reports its failure.
        undone = seen.removed and task.status is TaskStatus.STARTING and seen.started_at is None
        result = await self._result(task) if looked else None
        if undone and result is None and task.intent not in STOPPING:
            return None
        needs_boot = outcome.may_be_node_failure(task, seen, result)
        boot = await self._executor.booted(task.node) if needs_boot else None
        around, script = await self._circumstances(task, seen, result), await self._script(task, seen)
        return outcome.of_exit(
            task,
            seen,
            result,
            looked=looked,
            boot=boot,
            down=self._down,
            around=around,
            script=script,
            now=clock.now(),
        )

    async def _circumstances(self, task: Placed, seen: Observation, result: Result | None) -> Circumstances:
        image = result is None and outcome.may_never_have_begun(seen)
        if not image and not outcome.may_be_ended_by_others(task, seen):
            return Circumstances()
        return await self._executor.circumstances(seen.handle, image=image)

    async def _script(self, task: Placed, seen: Observation) -> str | None:
        """Return the script of a run, where its first lines may be why the run ended."""
        if seen.exit_code not in _OF_SHELLS:
            return None
        wholes = await self._stores.work.whole([task.id])
        return wholes[0].spec.cmd if wholes else None

    async def _result(self, task: Placed) -> Result | None:
        if Feature.IMAGES not in self._executor.features():
            return None  # the executor waits for commands itself, and the task can write these files
        try:
            return await self._directories.read_result(task.place, task.attempt)
        except errors.StorageError as error:
            log.warning("result.not_read", task_id=task.id, error=str(error))
            return None

    async def _send_hint(self, attempts: Sequence[tuple[int, int]]) -> None:
        if not attempts:
            return
        try:
            await self._broker.tell_scheduler_ended(attempts)
        except errors.BrokerUnavailable:
            log.warning("ends.hint_not_sent", count=len(attempts))  # the scheduler's audit finds them

    @staticmethod
    def _measure(won: Sequence[tuple[Placed, Outcome]], now: float) -> None:
        for _, found in won:
            metrics.ENDED.labels(ending=found.ending).inc()
            metrics.EXIT_TO_OVER.observe(max(0.0, now - found.ended_at))

    async def _requeue(self, tasks: Sequence[Placed], *, reachable: bool) -> None:
        """Remove the runs of attempts with successors and notify the scheduler. If this fails, polls do both later."""
        if not tasks:
            return
        try:
            for task in tasks if reachable else ():
                await self._executor.remove(Handle(task.node, task.id, task.attempt, task.system))
            await self._broker.enqueue([task.id for task in tasks])
        except errors.Unavailable as error:
            log.warning("reschedule.left_to_polls", error=str(error))
