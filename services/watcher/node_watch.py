"""Watch one node: events as hints, the list of its runs as the truth, and the intents of its tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import structlog

from services.watcher.limits.enforce import Limits
from services.watcher.reconcile.diff import Action, Known, LookForMissing, NoteEnd, reconcile
from services.watcher.reconcile.enact import Enactor
from services.watcher.reconcile.missed_events import MissedEvents
from services.watcher.reconcile.node_loss import NodeLoss
from services.watcher.reconcile.settle import Settler
from services.watcher.reconcile.zombies import ZombieCheck
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

_GATHER = 0.005  #: seconds within which exits are recorded in one write
_LOOK_AGAIN = 0.3  #: seconds until the next check while a task to be killed is still starting
_RETRY = 1.0  #: seconds


class NodeWatch:
    """All loops of one node, which run while its lease is held. Two watchers at once only duplicate the work."""

    def __init__(
        self,
        node: str,
        stores: Stores,
        executor: Executor,
        enactor: Enactor,
        settler: Settler,
        sampler: Sampler,
        node_loss: NodeLoss,
        limits: Limits,
        zombies: ZombieCheck,
        settings: Settings,
    ) -> None:
        self._node = node
        self._stores = stores
        self._executor = executor
        self._enactor = enactor
        self._settler = settler
        self._sampler = sampler
        self._node_loss = node_loss
        self._limits = limits
        self._zombies = zombies
        self._settings = settings
        self._list_wakeup = lifetime.Wakeup()
        self._exit_wakeup = lifetime.Wakeup()
        self._intent_wakeup = lifetime.Wakeup()
        self._exits: dict[Handle, Observation] = {}
        self._started: dict[Handle, float] = {}
        self._out_of_memory: set[Handle] = set()
        self._answers = True
        self._missed = MissedEvents()
        for outcome in metrics.RECONCILED:
            metrics.RECONCILES.labels(node, outcome)  # exported from the start, so that the first one is an increase

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
                f"liveness-{self._node}": self._zombies.run,
            }
        try:
            await lifetime.run_loops(loops, stop=stop, grace=4.0, cancel_timeout=2.0)
        finally:
            await self._enactor.drain()

    def on_asked(self) -> None:
        """Check intents now: an owner requested something."""
        self._intent_wakeup.set()

    # --- events ---------------------------------------------------------------------------

    async def watch_events(self, stop: asyncio.Event) -> None:
        """Turn the executor's events into work for the other loops."""
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
            self._missed.note_event(event.handle)
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
        """Record the ends that events reported, batched into one write."""
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
        """Record these ends. Return those whose task changed meanwhile, most likely from starting to running."""
        recorded = await self._stores.work.placed_of([seen.handle.task_id for seen in exits])
        # Not earlier: an engine may report memory after it reported the end.
        observed = self._with_memory(exits)
        keys = {(task.id, task.attempt) for task in recorded if task.node == self._node}
        ours = [seen for seen in observed if (seen.handle.task_id, seen.handle.attempt) in keys]
        return await self._enactor.enact(reconcile(recorded, ours, others={}, whole=False))

    # --- the truth ------------------------------------------------------------------------

    async def watch_list(self, stop: asyncio.Event) -> None:
        """Reconcile with the list of all runs after each gap in the events and every `reconcile_seconds`."""
        self._list_wakeup.set()
        while await self._list_wakeup.wait(stop, poll=self._settings.reconcile_seconds, gather=0.1):
            try:
                await self.reconcile()
            except errors.NodeUnavailable as error:
                # It answered, but could not act on a run: it is not unreachable.
                log.warning("reconcile.failed", node=self._node, error=str(error))
                self._reconciled("failed")
            except errors.Unavailable as error:
                log.warning("reconcile.failed", node=self._node, error=str(error))
                self._reconciled("store_unavailable")

    async def reconcile(self) -> None:
        """Run one pass. Raises `errors.NodeUnavailable` and `errors.StoreUnavailable`."""
        # In this order: a task recorded as running now must be in the list that is read after.
        recorded = await self._stores.work.placed(self._node)
        await self._limits.update(recorded)
        known = {*self._started, *self._out_of_memory, *self._settler.removed}
        try:
            observed = self._with_memory(await self._executor.list(self._node))
        except errors.NodeUnavailable as error:
            self._note_answer(error)
            await self._node_loss.unheard(error)
            return
        self._note_answer(None)
        self._node_loss.answers()
        others = await self._others(recorded, observed)
        actions = reconcile(recorded, observed, others=others, whole=True)
        metrics.MISSED_EVENTS.inc(self._missed.note_list(set(_ends(actions)) - self._exits.keys()))
        try:
            await self._enactor.enact(actions)
        finally:
            # Only after the strays are gone: from here on the scheduler may place tasks there again.
            await self._node_loss.heard()
        # Runs that began since the list was read are not in it, and are kept.
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
        attempts = await self._stores.work.attempts(sorted(ids))
        return {task_id: Known(*values) for task_id, values in attempts.items()}

    def _with_memory(self, observed: Iterable[Observation]) -> list[Observation]:
        """
        Return the observations, marked out of memory where an event said so. When the kernel kills a process other than the
        first, an engine reports it in no other way.
        """
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
                log.warning("node.unreachable", node=self._node, error=str(error))

    # --- intents --------------------------------------------------------------------------

    async def watch_intents(self, stop: asyncio.Event) -> None:
        """Carry out the intents of the tasks on this node."""
        poll = self._settings.poll_seconds
        self._intent_wakeup.set()
        while await self._intent_wakeup.wait(stop, poll=poll):
            try:
                unfinished = await self._carry_out_intents()
            except errors.Unavailable as error:
                log.warning("intents.failed", node=self._node, error=str(error))
                unfinished = False
            # A task that is being started can be stopped a moment later; the usual poll would be too slow.
            poll = _LOOK_AGAIN if unfinished else self._settings.poll_seconds

    async def _carry_out_intents(self) -> bool:
        """Act on all intents. Return whether a task is still starting and cannot be stopped yet."""
        requested = await self._stores.work.asked_on(self._node)
        runs = [Handle(task.node, task.id, task.attempt, task.system) for task in requested]
        handles = [handle for handle in runs if not self._enactor.is_stopping(handle)]
        observed = await asyncio.gather(*(self._executor.inspect(handle) for handle in handles), return_exceptions=True)
        seen = [one for one in observed if isinstance(one, Observation)]
        for failure in observed:
            # One run that the node cannot inspect must not delay the others.
            if isinstance(failure, BaseException):
                if not isinstance(failure, errors.NodeUnavailable):
                    raise failure
                log.warning("intents.not_inspected", node=self._node, error=str(failure))
        await self._enactor.enact(reconcile(requested, seen, others={}, whole=False))
        return any(task.status is TaskStatus.STARTING for task in requested)


def _ends(actions: Iterable[Action]) -> Iterator[Handle]:
    """Yield the recorded runs that ended."""
    for action in actions:
        if isinstance(action, NoteEnd):
            yield action.seen.handle
        elif isinstance(action, LookForMissing):
            yield action.handle
