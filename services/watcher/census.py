"""After a restore: look at what a node runs, before anybody acts on what the backup says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from services.watcher import adoption
from services.watcher.reconcile import Known
from shared import arrays, clock, errors, lifetime
from shared.executors.base import Executor, Observation
from shared.lifecycle import ACTIVE
from shared.settings import Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

_MOVES = 8  #: more than lead from any status to being adopted, with races


class Census:
    """
    A backup does not know the attempts that were placed after it. Their runs go on, and if the tasks were placed again they would
    run twice; or an attempt that the backup has would be given up as missing, while a later one runs on another node. So
    nothing is placed and no run is judged until every node was looked at, or was silent for as long as nodes are waited for.
    """

    def __init__(self, node: str, stores: Stores, executor: Executor, settings: Settings) -> None:
        self._node = node
        self._stores = stores
        self._executor = executor
        self._poll = settings.poll_seconds
        self._after = settings.node_lost_after
        self._gap = 2 * (settings.docker_timeout + settings.reconcile_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Return when no restored backup is left to be held against the nodes; at once, as a rule."""
        async for _ in lifetime.every(stop, self._poll):
            try:
                if await self._is_over():
                    return
            except errors.StoreUnavailable as error:
                log.warning("census.waits", node=self._node, error=str(error))

    async def _is_over(self) -> bool:
        restoration = await self._stores.restorations.current()
        if restoration is None:
            return True
        if self._node not in restoration.seen and not await self._look():
            return False
        missing = await self._missing()
        if missing:
            log.info("census.waits", node=self._node, for_nodes=missing)
        elif await self._stores.restorations.end():
            log.info("census.done", restored_at=restoration.at, backup_of=restoration.of)
        return not missing

    async def _look(self) -> bool:
        """Adopt what the node runs. True if that is done, or the node is not waited for any longer."""
        try:
            observed = await self._executor.list(self._node)
        except errors.NodeUnavailable as error:
            silence = await self._stores.silences.note(self._node, str(error), unheard=0.0, gap=self._gap)
            log.warning("census.node_silent", node=self._node, error=str(error), seconds=round(silence.seconds))
            return silence.is_lost(self._after)
        await self._make_children(observed)
        if not await self._adopt(observed):
            return False
        await self._stores.restorations.note_seen(self._node)
        return True

    async def _adopt(self, observed: Sequence[Observation]) -> bool:
        """Record the runs that are ahead of their tasks. False if others were always faster."""
        adopted: set[int] = set()
        for _ in range(_MOVES):
            known = await self._known(observed)
            handles = adoption.ahead(observed, known)
            if not handles:
                log.info("census.node_seen", node=self._node, runs=len(observed), adopted=len(adopted))
                return True
            now, name = clock.now(), self._executor.name
            moves = [adoption.step(handle, known[handle.task_id], executor=name, now=now) for handle in handles]
            adopted |= await self._stores.tasks.transition_many(moves)
        return False

    async def _known(self, observed: Sequence[Observation]) -> dict[int, Known]:
        found = await self._stores.work.attempts(sorted({seen.handle.task_id for seen in observed}))
        return {task_id: Known(*values) for task_id, values in found.items()}

    async def _make_children(self, observed: Sequence[Observation]) -> None:
        """Make the children of arrays that run and were not made when the backup was."""
        known = await self._known(observed)
        for task_id in sorted({seen.handle.task_id for seen in observed} - known.keys()):
            parent = await self._stores.arrays.covering(task_id)
            if parent is not None and parent.status in ACTIVE:
                position = task_id - arrays.array_of(parent).first_id
                await self._stores.arrays.make(arrays.documents(parent, [position], now=clock.now()))

    async def _missing(self) -> list[str]:
        """Nodes that were not looked at and are still waited for."""
        restoration = await self._stores.restorations.current()
        if restoration is None:
            return []
        nodes = {*self._executor.node_names(), *(host.name for host in await self._stores.hosts.list())}
        lost = {silence.node for silence in await self._stores.silences.list() if silence.is_lost(self._after)}
        return sorted(nodes - lost - set(restoration.seen))
