"""Carry a plan out: commit the placements, then start each attempt on its node, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from services.scheduler.owners import Owners
from services.scheduler.placement.planning import Placement
from services.scheduler.quota_gate import QuotaGate, Wanted
from services.scheduler.start import retries, run_spec, task_directories
from services.scheduler.start.installation_errors import EVERYWHERE, Ailments
from services.scheduler.start.storage_probe import StorageProbe
from shared import clock, errors
from shared.executors.base import Executor
from shared.executors.types import Handle, Run, RunState
from shared.lifecycle import Ending, Intent, TaskStatus
from shared.models import transitions
from shared.models.task import Task
from shared.models.transitions import Transition
from shared.observe import metrics
from shared.rules import installation_errors
from shared.rules.exit_codes import EXIT_KILLED
from shared.runtime import batching, lifetime
from shared.settings import START_CONCURRENCY, Settings
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores
from shared.wording import kills

log = structlog.get_logger(__name__)

_RETRY_FIRST, _RETRY_MOST = 0.5, 15.0  #: seconds between tries at a node that does not answer
_STORAGE_TRIES = 4


class Abandoned(errors.GoDockerError):
    """The attempt is no longer wanted: it was killed, or somebody else moved it on."""


class Dispatcher:
    """
    Starts attempts. The placement is written before the executor is asked, so whatever happens in between, the next leader
    finds the attempt and starts it again: the same attempt, which is adopted where it already runs.
    """

    def __init__(
        self,
        stores: Stores,
        executor: Executor,
        settings: Settings,
        directories: TaskDirectories,
        on_release: lifetime.Wakeup,
        ailments: Ailments,
        storage: StorageProbe,
    ) -> None:
        """
        `on_release` is woken when a start came to nothing and its room is free again; `ailments` is told of errors of the
        installation.
        """
        self._ailments = ailments
        self._storage = storage
        self._stores = stores
        self._executor = executor
        self._settings = settings
        self._preparer = task_directories.Preparer(directories, settings.shared_dir)
        self._slots: dict[str, asyncio.Semaphore] = {}  #: one for each start that a node takes at a time
        self._moves = batching.Batcher[Transition, bool](self._transition, name="transitions")
        self._under_way: dict[tuple[int, int], asyncio.Task[None]] = {}
        self.quotas = QuotaGate(stores)
        self.owners = Owners(stores)
        #: Attempts that hold no resources after all; taken out by the cycle.
        self.released: list[tuple[int, int]] = []
        #: Tasks whose starts were undone, so that they are pending again; entered into the book by the cycle.
        self.undone: list[int] = []
        #: Node, ports and until when these are to be given to nobody; noted by the cycle.
        self.taken_ports: list[tuple[str, Sequence[int], float]] = []
        self._retries = retries.Retries()
        self._on_release = on_release

    @property
    def under_way(self) -> frozenset[tuple[int, int]]:
        """The (task, attempt) that are being started."""
        return frozenset(self._under_way)

    async def commit(self, placements: Sequence[Placement], *, epoch: int) -> set[int]:
        """
        Write the placements and begin to start those that were won. Return the ids of the winners; the others were moved by
        somebody else, killed for example, exceed a quota, or are of somebody of whom nothing is started. Raises
        `errors.StoreUnavailable`.
        """
        # Not by what was known when it was planned: nothing starts of somebody who is disabled by now.
        await self.owners.look((placement.task.user, placement.task.project) for placement in placements)
        placements = [placement for placement in placements if not self.owners.is_held(placement.task)]
        now = clock.now()
        moves = [self._placing(placement, epoch, now) for placement in placements]
        wanted = [Wanted(placement.task, move) for placement, move in zip(placements, moves, strict=True)]
        winners = await self.quotas.place(wanted) if wanted else set()
        metrics.PLACED.inc(len(winners))
        metrics.PLACEMENTS_LOST.inc(len(moves) - len(winners))
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
        """Start an attempt that is written as starting, unless that is under way already."""
        key = (task.id, task.attempt)
        if key in self._under_way or task.placement is None or task.status is not TaskStatus.STARTING:
            return
        work = asyncio.create_task(self._start(task, task.placement.node), name=f"start-{task.id}-{task.attempt}")
        self._under_way[key] = work
        work.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: tuple[int, int], work: asyncio.Task[None]) -> None:
        del self._under_way[key]
        if not work.cancelled() and (error := work.exception()):
            # The attempt stays as it is written; the next audit begins it again.
            log.error("start.broke", task_id=key[0], attempt=key[1], exc_info=error)

    async def drain(self, seconds: float) -> None:
        """Let the starts under way come to their end for `seconds`, then leave them to the next leader."""
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
        """Start the attempt on its node, however long the node takes to answer. Return when it was started."""
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
                # Whether it was started is not known. Trying the same attempt again finds out; another attempt
                # elsewhere could make it run twice.
                log.warning("start.node_unavailable", error=str(error), retry_in=delay)
                if isinstance(error, OSError):
                    self._ailments.note(node, installation_errors.words(error.errno, str(error)), now=clock.monotonic())
                metrics.STARTS.labels(outcome="retried").inc()
            await asyncio.sleep(delay)
            delay = min(delay * 2, _RETRY_MOST)
            await self._check_wanted(task)

    def _slot(self, node: str) -> asyncio.Semaphore:
        if node not in self._slots:
            limits = {one.name: one.start_concurrency for one in self._settings.docker_nodes}
            self._slots[node] = asyncio.Semaphore(limits.get(node, START_CONCURRENCY))
        return self._slots[node]

    async def _prepare(self, task: Task, node: str) -> Run:
        for left in reversed(range(_STORAGE_TRIES)):
            try:
                found = await self._preparer.prepare(task)
                return run_spec.run_of(
                    task,
                    node=node,
                    directory=str(found.directory),
                    settings=self._settings,
                    data=str(found.data) if found.data else None,
                    state=str(found.state),
                )
            except errors.StorageError as error:
                log.warning("start.directory_failed", error=str(error), tries_left=left)
                if not left:
                    raise
            await asyncio.sleep(_RETRY_FIRST * 2 ** (_STORAGE_TRIES - left))
            await self._check_wanted(task)
        raise AssertionError("unreachable")

    async def _pull(self, task: Task, run: Run) -> None:
        """Bring the image to the node; a pull can take long, so it is looked whether the task is still wanted."""
        pull = asyncio.create_task(self._executor.prepare(run), name=f"prepare-{task.id}")
        try:
            while not (await asyncio.wait({pull}, timeout=self._settings.poll_seconds))[0]:
                await self._check_wanted(task)
            await pull
        finally:
            pull.cancel()

    async def _check_wanted(self, task: Task) -> None:
        """Raises `Abandoned` unless the attempt is still to be started."""
        try:
            placed = await self._stores.work.placed_of([task.id])
        except errors.StoreUnavailable:
            return  # not known: go on, the same attempt does no harm
        for found in placed:
            if (
                found.attempt == task.attempt
                and found.status is TaskStatus.STARTING
                and found.intent is not Intent.KILL
            ):
                return
        raise Abandoned(f"task {task.id}")

    # --- how it came out ------------------------------------------------------------------

    async def _note_running(self, task: Task, started_at: float) -> None:
        now = clock.now()
        metrics.STARTS.labels(outcome="started").inc()
        metrics.START_SECONDS.observe(max(0.0, started_at - task.status_at))
        metrics.QUEUE_SECONDS.observe(max(0.0, started_at - task.queued_at))
        self._retries.forget(task.id)
        if task.placement is not None:
            self._ailments.heal(EVERYWHERE, task.placement.node)
        await self._ask(transitions.run(task, started_at=started_at, at=now))

    async def _put_back(self, task: Task, node: str, error: retries.Passing) -> None:
        """Undo the start: the next one may go better, with another port, elsewhere or later."""
        if isinstance(error, errors.PortTaken) and task.placement is not None:
            ports = task.placement.ports if error.port is None else [error.port]
            self.taken_ports.append((node, ports, clock.now() + retries.SHUN))
        # Where nothing can be started for now, the task waits for that alone.
        delay = 0.0 if await self._is_ailing(node, error) else self._retries.again_in(task.id, error)
        if delay is None:
            await self._fail(task, f"tried {retries.MOST + 1} times: {error}", errors.word_of(error))
            return
        now = clock.now()
        log.info("start.undone", reason=str(error), again_in=delay)
        metrics.STARTS.labels(outcome="undone").inc()
        not_before = now + delay if delay else None
        if await self._ask(transitions.undo_start(task, reason=str(error), not_before=not_before, at=now)):
            self.undone.append(task.id)
        self._release(task)

    async def _is_ailing(self, node: str, error: retries.Passing) -> bool:
        """Whether by `error` nothing else can be started either, on the node or anywhere: then that is not tried for a while."""
        if isinstance(error, errors.StorageUnavailable):
            # One directory that has errors, or one user's quota of the disk, is no reason to start nothing at all.
            return not await self._storage.is_well()
        if isinstance(error, errors.NodeFull | errors.NodeUnwell) and error.trouble is not None:
            log.warning("node.unwell", node=node, error=str(error))
            self._ailments.note(node, error.trouble, now=clock.monotonic())
            return True
        return False

    async def _fail(self, task: Task, reason: str, kind: str) -> None:
        log.warning("start.failed", reason=reason, kind=kind)
        metrics.STARTS.labels(outcome=kind).inc()
        self._retries.forget(task.id)
        now = clock.now()
        await self._ask(transitions.end_start(task, ending=Ending.START_FAILED, reason=reason, at=now))
        self._release(task)

    async def _give_up(self, task: Task, node: str) -> None:
        """It is not wanted any more: make sure that nothing of it runs, then say that it was killed."""
        handle = Handle(node, task.id, task.attempt, task.placement.system if task.placement else None)
        try:
            found = await self._executor.inspect(handle)
            if found is not None and found.state is not RunState.CREATED:
                return  # it was started: from here on it is the watcher's
            await self._executor.remove(handle)
        except errors.NodeUnavailable:
            return
        now = clock.now()
        move = transitions.end_start(
            task,
            ending=Ending.KILLED,
            exit_code=EXIT_KILLED,
            reason=kills.before_start(await self._killer(task)),
            note="killed",
            intents=[Intent.KILL],
            at=now,
        )
        if await self._ask(move):
            metrics.ENDED.labels(ending=Ending.KILLED).inc()
        self._release(task)

    async def _killer(self, task: Task) -> str | None:
        """The user who asked for the attempt to be killed, as is recorded now."""
        try:
            return next((found.intent_by for found in await self._stores.work.placed_of([task.id])), None)
        except errors.StoreUnavailable:
            return task.intent_by

    def _release(self, task: Task) -> None:
        self.released.append((task.id, task.attempt))
        self._on_release.set()

    async def _ask(self, move: Transition) -> bool:
        """Write a move, however long MongoDB takes to answer. False if somebody else moved the task first."""
        delay = _RETRY_FIRST
        while True:
            try:
                return await self._moves.ask(move)
            except errors.StoreUnavailable as error:
                log.warning("start.not_recorded", task_id=move.task_id, error=str(error), retry_in=delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, _RETRY_MOST)

    async def _transition(self, moves: Sequence[Transition]) -> Sequence[bool]:
        winners = await self._stores.tasks.transition_many(moves)
        return [move.task_id in winners for move in moves]
