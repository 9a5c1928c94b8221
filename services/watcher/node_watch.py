"""Watch one node: its events as hints, the list of its runs as the truth, what owners want of its tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import structlog

from services.watcher.limits.enforce import Limits
from services.watcher.reconcile.diff import Action, Known, LookForMissing, NoteEnd, reconcile
from services.watcher.reconcile.enact import Enactor
from services.watcher.reconcile.missed_events import Missed
from services.watcher.reconcile.node_loss import Patience
from services.watcher.reconcile.settle import Settler
from services.watcher.reconcile.zombies import Liveness
from services.watcher.sampling import Sampler
from shared import errors
from shared.executors.base import Executor
from shared.executors.types import Event, EventKind, Handle, Observation, RunState
from shared.lifecycle import TaskStatus
from shared.models.work import Placed
from shared.observe import metrics
from shared.runtime import lifetime
from shared.settings import Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

_GATHER = 0.005  #: seconds in which exits that come together are recorded together
_LOOK_AGAIN = 0.3  #: seconds: a task to be killed is still being started
_RETRY = 1.0  #: seconds


class NodeWatch:
    """All loops of one node. They run while its lease is held; two watchers at once do no harm, only work twice."""

    def __init__(
        self,
        node: str,
        stores: Stores,
        executor: Executor,
        enactor: Enactor,
        settler: Settler,
        sampler: Sampler,
        patience: Patience,
        limits: Limits,
        liveness: Liveness,
        settings: Settings,
    ) -> None:
        self._node = node
        self._stores = stores
        self._executor = executor
        self._enactor = enactor
        self._settler = settler
        self._sampler = sampler
        self._patience = patience
        self._limits = limits
        self._liveness = liveness
        self._settings = settings
        self._list_wakeup = lifetime.Wakeup()
        self._exit_wakeup = lifetime.Wakeup()
        self._intent_wakeup = lifetime.Wakeup()
        self._exits: dict[Handle, Observation] = {}
        self._started: dict[Handle, float] = {}
        self._out_of_memory: set[Handle] = set()
        self._answers = True
        self._missed = Missed()
        for outcome in metrics.RECONCILED:
            metrics.RECONCILES.labels(node, outcome)  # shown from the start, so that the first one is a rise

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop`."""
        loops: dict[str, lifetime.Loop] = {
            f"list-{self._node}": self.watch_list,
            f"settle-{self._node}": self._settler.run,
        }
        if self._node in self._executor.node_names():
            loops |= {
                f"events-{self._node}": self.watch_events,
                f"exits-{self._node}": self.watch_exits,
                f"intents-{self._node}": self.watch_intents,
                f"samples-{self._node}": self._sampler.run,
                f"lifespans-{self._node}": self._limits.watch_lifespans,
                f"disk-{self._node}": self._limits.watch_disk,
                f"liveness-{self._node}": self._liveness.run,
            }
        try:
            await lifetime.run_loops(loops, stop=stop, grace=4.0, cancel_timeout=2.0)
        finally:
            await self._enactor.drain()

    def on_asked(self) -> None:
        """An owner wants something."""
        self._intent_wakeup.set()

    # --- events ---------------------------------------------------------------------------

    async def watch_events(self, stop: asyncio.Event) -> None:
        """Turn what the executor tells into work for the other loops."""
        events = self._executor.events(self._node)
        stopping = asyncio.create_task(stop.wait(), name=f"events-stop-{self._node}")
        try:
            while not stop.is_set():
                following = asyncio.ensure_future(anext(events))
                await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    following.cancel()
                    await asyncio.wait({following})
                    return
                self._on_event(following.result())
        finally:
            stopping.cancel()

    def _on_event(self, event: Event) -> None:
        metrics.EVENTS.labels(kind=event.kind).inc()
        if event.kind is EventKind.RESYNC:
            self._list_wakeup.set()
        elif event.handle is None:
            return
        elif event.kind is EventKind.STARTED and event.at is not None:
            self._started[event.handle] = event.at
        elif event.kind is EventKind.OUT_OF_MEMORY:
            self._out_of_memory.add(event.handle)
        elif event.kind is EventKind.EXITED:
            self._missed.tell(event.handle)
            self._exits[event.handle] = Observation(
                handle=event.handle,
                state=RunState.EXITED,
                exit_code=event.exit_code,
                started_at=self._started.pop(event.handle, None),
                ended_at=event.at,
                reason=event.reason,
                by_signal=event.by_signal,
                lost=event.lost,
            )
            self._exit_wakeup.set()
        elif event.kind is EventKind.REMOVED:
            self._started.pop(event.handle, None)
            if not self._settler.confirm_removed(event.handle):
                self._list_wakeup.set()  # somebody else removed it: the list shows it missing

    async def watch_exits(self, stop: asyncio.Event) -> None:
        """Record the ends that events told of, those that come together in one write."""
        while await self._exit_wakeup.wait(stop, poll=self._settings.poll_seconds, gather=_GATHER):
            exits, self._exits = self._exits, {}
            if not exits:
                continue
            try:
                again = await self._record(exits.values())
            except errors.Unavailable as error:
                log.warning("exits.not_recorded", node=self._node, error=str(error), count=len(exits))
                await lifetime.pause(stop, _RETRY)
                again = list(exits)
            for handle in again:
                self._exits.setdefault(handle, exits[handle])
            if again:
                self._exit_wakeup.set()

    async def _record(self, exits: Collection[Observation]) -> list[Handle]:
        """Record these ends. Return those whose record moved meanwhile, starting to running most likely."""
        recorded = await self._stores.work.placed_of([seen.handle.task_id for seen in exits])
        # Not before: an engine may tell of memory after it told of the end.
        observed = self._with_memory(exits)
        keys = {(task.id, task.attempt) for task in recorded if task.node == self._node}
        ours = [seen for seen in observed if (seen.handle.task_id, seen.handle.attempt) in keys]
        return await self._enactor.enact(reconcile(recorded, ours, others={}, whole=False))

    # --- the truth ------------------------------------------------------------------------

    async def watch_list(self, stop: asyncio.Event) -> None:
        """Reconcile with the list of all runs, after each gap in the events and every `reconcile_seconds`."""
        self._list_wakeup.set()
        while await self._list_wakeup.wait(stop, poll=self._settings.reconcile_seconds, gather=0.1):
            try:
                await self.reconcile()
            except errors.NodeUnavailable as error:
                # It answered and could not do something to a run: that is no silence.
                log.warning("reconcile.failed", node=self._node, error=str(error))
                self._reconciled("failed")
            except errors.Unavailable as error:
                log.warning("reconcile.failed", node=self._node, error=str(error))
                self._reconciled("store_unavailable")

    async def reconcile(self) -> None:
        """One pass. Raises `errors.NodeUnavailable` and `errors.StoreUnavailable`."""
        # In this order: what is recorded as running now must be in the list that is taken after.
        recorded = await self._stores.work.placed(self._node)
        await self._limits.look(recorded)
        known = {*self._started, *self._out_of_memory, *self._settler.removed}
        try:
            observed = self._with_memory(await self._executor.list(self._node))
        except errors.NodeUnavailable as error:
            self._note_answer(error)
            await self._patience.unheard(error)
            return
        self._note_answer(None)
        self._patience.answers()
        others = await self._others(recorded, observed)
        actions = reconcile(recorded, observed, others=others, whole=True)
        metrics.MISSED_EVENTS.inc(self._missed.find(set(_ends(actions)) - self._exits.keys()))
        try:
            await self._enactor.enact(actions)
        finally:
            # Not before the strays are gone: from here on the scheduler may place something there again.
            await self._patience.heard()
        # Of what began since, the list does not know.
        self._forget(known - {seen.handle for seen in observed})
        self._reconciled("done")
        if actions:
            log.info(
                "reconcile.done", node=self._node, recorded=len(recorded), runs=len(observed), actions=len(actions)
            )

    async def _others(self, recorded: Sequence[Placed], observed: Sequence[Observation]) -> dict[int, Known]:
        keys = {(task.id, task.attempt) for task in recorded}
        ids = {seen.handle.task_id for seen in observed if (seen.handle.task_id, seen.handle.attempt) not in keys}
        if not ids:
            return {}
        found = await self._stores.work.attempts(sorted(ids))
        return {task_id: Known(*values) for task_id, values in found.items()}

    def _with_memory(self, observed: Iterable[Observation]) -> list[Observation]:
        """The same, out of memory too where events said so: of a process that was not the first, an engine tells nothing else."""
        return [replace(seen, out_of_memory=True) if seen.handle in self._out_of_memory else seen for seen in observed]

    def _forget(self, gone: Collection[Handle]) -> None:
        for handle in gone:
            self._started.pop(handle, None)
        self._settler.forget(gone)
        self._out_of_memory -= set(gone)

    def _reconciled(self, outcome: str) -> None:
        metrics.RECONCILES.labels(self._node, outcome).inc()

    def _note_answer(self, error: errors.NodeUnavailable | None) -> None:
        if error is not None:
            self._reconciled("node_unavailable")
        if self._answers != (error is None):
            self._answers = error is None
            if self._answers:
                log.info("node.answers", node=self._node)
            else:
                log.warning("node.silent", node=self._node, error=str(error))

    # --- intents --------------------------------------------------------------------------

    async def watch_intents(self, stop: asyncio.Event) -> None:
        """Carry out what owners want of the tasks on this node."""
        poll = self._settings.poll_seconds
        self._intent_wakeup.set()
        while await self._intent_wakeup.wait(stop, poll=poll):
            try:
                unfinished = await self._carry_out_intents()
            except errors.Unavailable as error:
                log.warning("intents.failed", node=self._node, error=str(error))
                unfinished = False
            # A task that is just being started can be stopped a moment later, not in two seconds.
            poll = _LOOK_AGAIN if unfinished else self._settings.poll_seconds

    async def _carry_out_intents(self) -> bool:
        """Begin the stops that are wanted. True if some task cannot be stopped yet."""
        asked = await self._stores.work.asked_on(self._node)
        found = [Handle(task.node, task.id, task.attempt, task.system) for task in asked]
        handles = [handle for handle in found if not self._enactor.is_stopping(handle)]
        observed = await asyncio.gather(*(self._executor.inspect(handle) for handle in handles), return_exceptions=True)
        there = [seen for seen in observed if isinstance(seen, Observation)]
        for failure in observed:
            # One run that the node is not well with holds up no other.
            if isinstance(failure, BaseException):
                if not isinstance(failure, errors.NodeUnavailable):
                    raise failure
                log.warning("intents.not_looked_at", node=self._node, error=str(failure))
        await self._enactor.enact(reconcile(asked, there, others={}, whole=False))
        return any(task.status is TaskStatus.STARTING for task in asked)


def _ends(actions: Iterable[Action]) -> Iterator[Handle]:
    """The runs that ended, of those that are recorded."""
    for action in actions:
        if isinstance(action, NoteEnd):
            yield action.seen.handle
        elif isinstance(action, LookForMissing):
            yield action.handle
