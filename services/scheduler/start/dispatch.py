"""Dispatch a plan: commit the placements, then start each attempt on its node, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from services.scheduler.owners import Owners
from services.scheduler.placement.planning import Placement
from services.scheduler.quota_gate import Candidate, QuotaGate
from services.scheduler.start import retries, run_spec, task_directories
from services.scheduler.start.installation_errors import EVERYWHERE, InstallationErrors
from services.scheduler.start.results import PortsTaken, Released, Results, Undone
from services.scheduler.start.storage_probe import StorageProbe
from shared import clock, errors
from shared.executors.base import Executor
from shared.executors.types import Handle, Run, RunState
from shared.lifecycle import Ending, Intent, TaskStatus
from shared.models import transitions
from shared.models.task import Task
from shared.models.transitions import Transition
from shared.observe import metrics
from shared.rules import installation_errors as error_rules
from shared.rules.exit_codes import EXIT_KILLED
from shared.runtime import batching
from shared.settings import START_CONCURRENCY, Settings
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores
from shared.wording import kills

log = structlog.get_logger(__name__)

_RETRY_FIRST, _RETRY_MOST = 0.5, 15.0  #: seconds between retries at a node that does not answer
_STORAGE_TRIES = 4


class Abandoned(errors.GoDockerError):
    """The attempt is not to be started any more: it was killed, or another process changed its status."""


class Dispatcher:
    """
    Starts attempts. The placement is written before the executor is asked, so after a crash in between the next leader
    finds the attempt and starts it again: the same attempt, which is adopted if it already runs.
    """

    def __init__(
        self,
        stores: Stores,
        executor: Executor,
        settings: Settings,
        directories: TaskDirectories,
        quotas: QuotaGate,
        owners: Owners,
        node_errors: InstallationErrors,
        storage: StorageProbe,
        results: Results,
    ) -> None:
        self._quotas = quotas
        self._owners = owners
        self._errors = node_errors
        self._storage = storage
        self._results = results
        self._stores = stores
        self._executor = executor
        self._settings = settings
        self._preparer = task_directories.Preparer(directories, settings.shared_dir)
        self._slots: dict[str, asyncio.Semaphore] = {}  # by node: how many starts it takes at a time
        self._transitions = batching.Batcher[Transition, bool](self._write_many, name="transitions")
        self._under_way: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._retries = retries.Retries()

    @property
    def under_way(self) -> frozenset[tuple[int, int]]:
        """The (task id, attempt) of the starts under way."""
        return frozenset(self._under_way)

    async def commit(self, placements: Sequence[Placement], *, epoch: int) -> set[int]:
        """
        Write the placements and begin to start those that were won. Return the ids of the winners. The others lost a
        race, to a kill for example, exceed a quota, or have an owner that is held. Raises `errors.StoreUnavailable`.
        """
        # Owners are read again: what the plan knew may be old, and nothing of a disabled user may start.
        await self._owners.refresh((placement.task.user, placement.task.project) for placement in placements)
        placements = [placement for placement in placements if not self._owners.is_held(placement.task)]
        now = clock.now()
        candidates = [Candidate(placement.task, self._placing(placement, epoch, now)) for placement in placements]
        winners = await self._quotas.place(candidates) if candidates else set()
        metrics.PLACED.inc(len(winners))
        metrics.PLACEMENTS_LOST.inc(len(candidates) - len(winners))
        for task in await self._stores.work.whole(sorted(winners)):
            self.begin(task)
        return winners

    def _placing(self, placement: Placement, epoch: int, now: float) -> Transition:
        task = placement.task
        given = placement.given
        where = {
            "node": given.node,
            "executor": self._executor.name,
            "at": now,
            "epoch": epoch,
            "gpus": list(given.gpus),
            "ports": list(given.ports),
            "leases": given.leases,
            "system": self._executor.owner.mark if self._executor.owner else None,
        }
        return transitions.place(task, where, at=now)

    def begin(self, task: Task) -> None:
        """Start an attempt whose stored status is starting, unless its start is under way already."""
        key = (task.id, task.attempt)
        if key in self._under_way or task.placement is None or task.status is not TaskStatus.STARTING:
            return
        work = asyncio.create_task(self._start(task, task.placement.node), name=f"start-{task.id}-{task.attempt}")
        self._under_way[key] = work
        work.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: tuple[int, int], work: asyncio.Task[None]) -> None:
        del self._under_way[key]
        if not work.cancelled() and (error := work.exception()):
            # The stored attempt stays starting; the next audit begins it again.
            log.error("start.broke", task_id=key[0], attempt=key[1], exc_info=error)

    async def drain(self, seconds: float) -> None:
        """Wait up to `seconds` for the starts under way, then leave them to the next leader."""
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=seconds)
        left = list(self._under_way.values())
        for work in left:
            work.cancel()
        if left:
            await asyncio.wait(left, timeout=1.0)

    # --- one attempt --------------------------------------------------------------------

    async def _start(self, task: Task, node: str) -> None:
        structlog.contextvars.bind_contextvars(task_id=task.id, attempt=task.attempt, node=node, request=task.request)
        try:
            started_at = await self._bring_up(task, node)
        except Abandoned:
            await self._give_up(task, node)
        except retries.PASSING as error:
            await self._put_back(task, node, error)
        except (errors.StartFailed, errors.StorageError) as error:
            await self._fail(task, str(error), errors.word_of(error))
        else:
            await self._note_running(task, started_at)

    async def _bring_up(self, task: Task, node: str) -> float:
        """
        Start the attempt on its node, retrying for as long as the node does not answer. Return the time of the start.
        """
        if task.intent is Intent.KILL:  # an attempt that was adopted
            raise Abandoned(f"task {task.id}")
        run = await self._prepare(task, node)
        delay = _RETRY_FIRST
        while True:
            try:
                await self._pull(task, run)
                async with self._slot(node):
                    return await self._executor.start(run)
            except (errors.NodeUnavailable, OSError) as error:
                # Whether it was started is not known. Retrying the same attempt finds out; another attempt elsewhere
                # could make the task run twice.
                log.warning("start.node_unavailable", error=str(error), retry_in=delay)
                if isinstance(error, OSError):
                    self._errors.note(node, error_rules.words(error.errno, str(error)), now=clock.monotonic())
                metrics.STARTS.labels(outcome="retried").inc()
            await asyncio.sleep(delay)
            delay = min(delay * 2, _RETRY_MOST)
            await self._check_still_starting(task)

    def _slot(self, node: str) -> asyncio.Semaphore:
        if node not in self._slots:
            limits = {one.name: one.start_concurrency for one in self._settings.docker_nodes}
            self._slots[node] = asyncio.Semaphore(limits.get(node, START_CONCURRENCY))
        return self._slots[node]

    async def _prepare(self, task: Task, node: str) -> Run:
        for left in reversed(range(_STORAGE_TRIES)):
            try:
                prepared = await self._preparer.prepare(task)
                return run_spec.run_of(
                    task,
                    node=node,
                    directory=str(prepared.directory),
                    settings=self._settings,
                    data=str(prepared.data) if prepared.data else None,
                    state=str(prepared.state),
                )
            except errors.StorageError as error:
                log.warning("start.directory_failed", error=str(error), tries_left=left)
                if not left:
                    raise
            await asyncio.sleep(_RETRY_FIRST * 2 ** (_STORAGE_TRIES - left))
            await self._check_still_starting(task)
        raise AssertionError("unreachable")

    async def _pull(self, task: Task, run: Run) -> None:
        """Pull the image to the node. A pull can take long, so the task is checked meanwhile."""
        pull = asyncio.create_task(self._executor.prepare(run), name=f"prepare-{task.id}")
        try:
            while not (await asyncio.wait({pull}, timeout=self._settings.poll_seconds))[0]:
                await self._check_still_starting(task)
            await pull
        finally:
            pull.cancel()

    async def _check_still_starting(self, task: Task) -> None:
        """Raise `Abandoned` unless the attempt is still starting and not to be killed."""
        try:
            placed = await self._stores.work.placed_of([task.id])
        except errors.StoreUnavailable:
            return  # not known; starting the same attempt again is safe
        for stored in placed:
            if (
                stored.attempt == task.attempt
                and stored.status is TaskStatus.STARTING
                and stored.intent is not Intent.KILL
            ):
                return
        raise Abandoned(f"task {task.id}")

    # --- results of starts ------------------------------------------------------------------

    async def _note_running(self, task: Task, started_at: float) -> None:
        now = clock.now()
        metrics.STARTS.labels(outcome="started").inc()
        metrics.START_SECONDS.observe(max(0.0, started_at - task.status_at))
        metrics.QUEUE_SECONDS.observe(max(0.0, started_at - task.queued_at))
        self._retries.forget(task.id)
        if task.placement is not None:
            self._errors.clear(EVERYWHERE, task.placement.node)
        await self._write(transitions.run(task, started_at=started_at, at=now))

    async def _put_back(self, task: Task, node: str, error: retries.Passing) -> None:
        """Undo the start: the next one may succeed with another port, on another node or later."""
        if isinstance(error, errors.PortTaken) and task.placement is not None:
            ports = task.placement.ports if error.port is None else [error.port]
            self._results.put(PortsTaken(node, ports, clock.now() + retries.SHUN))
        # A node that takes no starts at all delays the task by itself.
        delay = 0.0 if await self._is_installation_error(node, error) else self._retries.delay(task.id, error)
        if delay is None:
            await self._fail(task, f"tried {retries.MOST + 1} times: {error}", errors.word_of(error))
            return
        now = clock.now()
        log.info("start.undone", reason=str(error), retry_in=delay)
        metrics.STARTS.labels(outcome="undone").inc()
        not_before = now + delay if delay else None
        if await self._write(transitions.undo_start(task, reason=str(error), not_before=not_before, at=now)):
            self._results.put(Undone(task.id))
        self._release(task)

    async def _is_installation_error(self, node: str, error: retries.Passing) -> bool:
        """Check whether `error` stops all starts, on the node or anywhere, and if so record it, which pauses them."""
        if isinstance(error, errors.StorageUnavailable):
            # One broken directory, or one user's full disk quota, must not stop all starts.
            return not await self._storage.is_well()
        if isinstance(error, errors.NodeFull | errors.NodeUnwell) and error.trouble is not None:
            log.warning("node.unwell", node=node, error=str(error))
            self._errors.note(node, error.trouble, now=clock.monotonic())
            return True
        return False

    async def _fail(self, task: Task, reason: str, kind: str) -> None:
        log.warning("start.failed", reason=reason, kind=kind)
        metrics.STARTS.labels(outcome=kind).inc()
        self._retries.forget(task.id)
        now = clock.now()
        await self._write(transitions.end_start(task, ending=Ending.START_FAILED, reason=reason, at=now))
        self._release(task)

    async def _give_up(self, task: Task, node: str) -> None:
        """Make sure that nothing of the attempt runs, then record that it was killed."""
        handle = Handle(node, task.id, task.attempt, task.placement.system if task.placement else None)
        try:
            run = await self._executor.inspect(handle)
            if run is not None and run.state is not RunState.CREATED:
                return  # it was started: the watcher handles it from here
            await self._executor.remove(handle)
        except errors.NodeUnavailable:
            return
        now = clock.now()
        transition = transitions.end_start(
            task,
            ending=Ending.KILLED,
            exit_code=EXIT_KILLED,
            reason=kills.before_start(await self._killer(task)),
            note="killed",
            intents=[Intent.KILL],
            at=now,
        )
        if await self._write(transition):
            metrics.ENDED.labels(ending=Ending.KILLED).inc()
        self._release(task)

    async def _killer(self, task: Task) -> str | None:
        """Return the user who asked for the kill, as stored now."""
        try:
            return next((stored.intent_by for stored in await self._stores.work.placed_of([task.id])), None)
        except errors.StoreUnavailable:
            return task.intent_by

    def _release(self, task: Task) -> None:
        self._results.put(Released(task.id, task.attempt))

    async def _write(self, transition: Transition) -> bool:
        """
        Write a transition, retrying while MongoDB does not answer. False if the task's status was changed meanwhile.
        """
        delay = _RETRY_FIRST
        while True:
            try:
                return await self._transitions.ask(transition)
            except errors.StoreUnavailable as error:
                log.warning("start.not_recorded", task_id=transition.task_id, error=str(error), retry_in=delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _RETRY_MOST)

    async def _write_many(self, batch: Sequence[Transition]) -> Sequence[bool]:
        winners = await self._stores.tasks.transition_many(batch)
        return [transition.task_id in winners for transition in batch]
