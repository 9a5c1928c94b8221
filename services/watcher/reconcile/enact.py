"""Carry out the actions of a reconcile pass: record, stop, pause, remove. Every action can be done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from services.watcher.reconcile.diff import (
    Action,
    LookForMissing,
    NoteEnd,
    NotePause,
    NoteRunning,
    Pause,
    RemoveStray,
    Resume,
    Stop,
)
from services.watcher.reconcile.record_ends import Recorder
from shared import errors
from shared.executors.base import Executor
from shared.executors.types import Feature, Handle, RunState
from shared.lifecycle import Intent, IntentResult
from shared.observe import metrics
from shared.settings import Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

_STOPS = 256  #: concurrent stops: each waits for up to the grace
_ALIVE = frozenset({RunState.RUNNING, RunState.PAUSED})


class Enactor:
    """Carries out the actions for one node. A failure with one run delays no other; the next pass tries again."""

    def __init__(
        self,
        stores: Stores,
        executor: Executor,
        recorder: Recorder,
        settings: Settings,
    ) -> None:
        self._stores = stores
        self._executor = executor
        self._recorder = recorder
        self._grace = settings.kill_grace
        self._warning = settings.lifespan_grace
        self._stops: dict[Handle, asyncio.Task[None]] = {}
        self._stuck: set[Handle] = set()

    async def enact(self, actions: Sequence[Action]) -> list[Handle]:
        """
        Carry out the actions. Return the handles whose task changed meanwhile: they have to be checked again. Raises
        `errors.StoreUnavailable` and `errors.NodeUnavailable`.
        """
        for action in actions:
            metrics.ACTIONS.labels(action=type(action).__name__).inc()
        await self._recorder.note_running([action for action in actions if isinstance(action, NoteRunning)])
        for action in actions:
            if isinstance(action, Stop):
                self._begin_stop(action.handle, self._warning if action.warn else self._grace)
        for action in actions:
            try:
                await self._act(action)
            except errors.NodeUnavailable as error:
                log.warning("action.failed", action=type(action).__name__, error=str(error))
        return await self._recorder.note_ends(
            [action for action in actions if isinstance(action, NoteEnd | LookForMissing)]
        )

    async def _act(self, action: Action) -> None:
        match action:
            case Pause(handle):
                await self._suspend(handle)
            case Resume(handle):
                await self._resume(handle)
            case NotePause(handle, paused):
                if await self._stores.tasks.note_paused(handle.task_id, handle.attempt, paused=paused):
                    log.info("task.paused_by_others", task_id=handle.task_id, attempt=handle.attempt, paused=paused)
            case RemoveStray(handle, why):
                log.warning("run.stray_removed", run=handle.name, node=handle.node, why=why)
                await self._executor.remove(handle)

    def is_stopping(self, handle: Handle) -> bool:
        """Return whether this run is being stopped."""
        return handle in self._stops

    async def drain(self) -> None:
        """Cancel the stops in progress: the intent is written, so the next watcher continues them."""
        for stop in list(self._stops.values()):
            stop.cancel()
        if self._stops:
            await asyncio.wait(self._stops.values(), timeout=1.0)

    # --- suspend and resume -----------------------------------------------------------------

    async def _suspend(self, handle: Handle) -> None:
        if Feature.PAUSE in self._executor.features():
            await self._executor.pause(handle)
            remark = IntentResult.SUSPENDED
        else:
            remark = IntentResult.SUSPEND_REJECTED
        await self._stores.tasks.answer(handle.task_id, Intent.SUSPEND, remark, attempt=handle.attempt)
        log.info("task.suspended", task_id=handle.task_id, attempt=handle.attempt, remark=remark)

    async def _resume(self, handle: Handle) -> None:
        await self._executor.resume(handle)
        await self._stores.tasks.answer(handle.task_id, Intent.RESUME, IntentResult.RESUMED, attempt=handle.attempt)
        log.info("task.resumed", task_id=handle.task_id, attempt=handle.attempt)

    # --- stops ------------------------------------------------------------------------------

    def _begin_stop(self, handle: Handle, grace: float) -> None:
        if handle in self._stops or len(self._stops) >= _STOPS:
            return
        stop = asyncio.create_task(self._stop(handle, grace), name=f"stop-{handle.name}")
        self._stops[handle] = stop
        stop.add_done_callback(lambda _: self._stops.pop(handle, None))

    async def _stop(self, handle: Handle, grace: float) -> None:
        log.debug("task.stopping", task_id=handle.task_id, attempt=handle.attempt, grace=grace)
        try:
            await self._executor.stop(handle, grace=grace)
        except errors.GoDockerError as error:
            # The intent stays: the next pass tries again.
            log.warning("task.not_stopped", task_id=handle.task_id, attempt=handle.attempt, error=str(error))
            await self._check_stuck(handle)
        else:
            await self._note_stuck(handle, stuck=False)

    async def _check_stuck(self, handle: Handle) -> None:
        """Distinguish a run that cannot be killed from a node that does not answer."""
        try:
            seen = await self._executor.inspect(handle)
            await self._note_stuck(handle, stuck=seen is not None and seen.state in _ALIVE)
        except errors.Unavailable as error:
            log.debug("stop.not_checked", run=handle.name, error=str(error))

    async def _note_stuck(self, handle: Handle, *, stuck: bool) -> None:
        if not stuck and handle not in self._stuck:
            return
        if stuck:
            self._stuck.add(handle)
            reason = f"it was killed and still runs: node {handle.node} cannot end it; the kill is retried"
            await self._stores.tasks.note_stuck(handle.task_id, handle.attempt, reason)
        else:
            self._stuck.discard(handle)
        metrics.NODE_STUCK.labels(node=handle.node).set(len(self._stuck))
        await self._stores.nodes.note_stuck(handle.node, len(self._stuck))
