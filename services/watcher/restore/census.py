"""Take stock of a node's runs after a restore, before anything acts on the backup."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from services.watcher.reconcile import accounting
from services.watcher.reconcile.diff import Known
from services.watcher.restore import adoption
from shared import clock, errors
from shared.executors.base import Executor
from shared.executors.types import Handle, Observation, RunState
from shared.lifecycle import ACTIVE, TaskStatus
from shared.models.attempt_files import Result
from shared.models.task import Task
from shared.models.transitions import Transition
from shared.models.usage import UsageRow
from shared.rules import arrays
from shared.runtime import lifetime
from shared.settings import Settings
from shared.storage.directories import TaskDirectories
from shared.store.stores import Stores

log = structlog.get_logger(__name__)

_STEPS = 8  #: more than lead from any status to an adopted run, with races
_READS = 8  #: concurrent reads of runs and their files


class Census:
    """
    Adopts the runs of one node that a restored backup does not know. Attempts placed after the backup still run: if their tasks
    were placed again, they would run twice; or an attempt in the backup would be given up as missing while a later one runs on
    another node. So nothing is placed and no run reconciled until every node was listed, or is lost.
    """

    def __init__(
        self, node: str, stores: Stores, executor: Executor, directories: TaskDirectories, settings: Settings
    ) -> None:
        self._node = node
        self._stores = stores
        self._executor = executor
        self._directories = directories
        self._reads = asyncio.Semaphore(_READS)
        self._poll = settings.poll_seconds
        self._after = settings.node_lost_after
        self._gap = 2 * (settings.docker_timeout + settings.reconcile_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Return once no restored backup has to be compared with the nodes; usually at once."""
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
        """Adopt the node's runs. Return whether that is done, or the node is lost."""
        try:
            observed = await self._executor.list(self._node)
        except errors.NodeUnavailable as error:
            silence = await self._stores.unreachable_nodes.note(self._node, str(error), unheard=0.0, gap=self._gap)
            log.warning("census.node_unreachable", node=self._node, error=str(error), seconds=round(silence.seconds))
            return silence.is_lost(self._after)
        await self._make_children(observed)
        if not await self._adopt(observed):
            return False
        await self._stores.restorations.note_seen(self._node)
        return True

    async def _adopt(self, observed: Sequence[Observation]) -> bool:
        """Record the runs that are ahead of their tasks. Return False if races or vanished runs left some."""
        adopted: set[int] = set()
        for _ in range(_STEPS):
            handles = adoption.ahead(observed, await self._known(observed))
            if not handles:
                log.info("census.node_seen", node=self._node, runs=len(observed), adopted=len(adopted))
                return True
            # A list does not have the devices and ports of a run.
            inspected = await asyncio.gather(*(self._inspect(handle) for handle in handles))
            runs = {run.handle.task_id: run for run in inspected if run is not None}
            tasks = await self._stores.work.whole(list(runs))
            await self._count_earlier(runs, tasks)
            taken = await self._taken(runs, observed)
            now, name = clock.now(), self._executor.name
            changes = [adoption.step(runs[task.id], task, executor=name, taken=taken, now=now) for task in tasks]
            won = await self._stores.tasks.transition_many(changes)
            self._warn_of_shared([change for change in changes if change.task_id in won])
            adopted |= won
        return False

    async def _taken(self, runs: Mapping[int, Observation], observed: Sequence[Observation]) -> dict[str, int]:
        """
        Return the leases of these runs that are recorded for other tasks whose runs are also alive here, with those tasks' ids.
        Tasks without a live run give their leases up.
        """
        needed = {lease for run in runs.values() for lease in adoption.leases(run)}
        if not needed:
            return {}
        alive = (seen for seen in observed if seen.state is not RunState.EXITED)
        here = {(seen.handle.task_id, seen.handle.attempt) for seen in alive}
        taken: dict[str, int] = {}
        for holder in await self._stores.work.holders(sorted(needed)):
            if (holder.id, holder.attempt) not in here:
                await self._give_up(holder)
            elif holder.placement is not None:
                taken |= {lease: holder.id for lease in holder.placement.leases if lease in needed}
        return taken

    async def _give_up(self, holder: Task) -> None:
        log.info("census.leases_given_up", node=self._node, task_id=holder.id, attempt=holder.attempt)
        if holder.status is TaskStatus.STARTING:
            result = await self._result(holder, holder.attempt)
            await self._stores.tasks.transition_many([adoption.undone(holder, result, now=clock.now())])
        else:
            await self._stores.tasks.give_up_leases(holder.id, holder.attempt)

    def _warn_of_shared(self, changes: Sequence[Transition]) -> None:
        for change in changes:
            if reason := change.fields.get("reason"):
                log.warning("census.leases_shared", node=self._node, task_id=change.task_id, reason=reason)

    async def _count_earlier(self, runs: Mapping[int, Observation], tasks: Sequence[Task]) -> None:
        """Account earlier attempts, whose rows may have been written after the backup. Existing rows stay."""
        earlier = [(task, number) for task in tasks for number in range(1, runs[task.id].handle.attempt)]
        rows = await asyncio.gather(*(self._row(task, number) for task, number in earlier))
        await self._stores.usage.add_many([row for row in rows if row is not None])

    async def _row(self, task: Task, attempt: int) -> UsageRow | None:
        return accounting.row_of_earlier(task, attempt, await self._result(task, attempt))

    async def _inspect(self, handle: Handle) -> Observation | None:
        async with self._reads:
            return await self._executor.inspect(handle)

    async def _result(self, task: Task, attempt: int) -> Result | None:
        async with self._reads:
            try:
                return await self._directories.read_result(task.place, attempt)
            except errors.StorageError as error:
                log.warning("result.not_read", task_id=task.id, error=str(error))
                return None

    async def _known(self, observed: Sequence[Observation]) -> dict[int, Known]:
        attempts = await self._stores.work.attempts(sorted({seen.handle.task_id for seen in observed}))
        return {task_id: Known(*values) for task_id, values in attempts.items()}

    async def _make_children(self, observed: Sequence[Observation]) -> None:
        """Create the children of arrays that run and did not exist when the backup was made."""
        known = await self._known(observed)
        for task_id in sorted({seen.handle.task_id for seen in observed} - known.keys()):
            parent = await self._stores.arrays.covering(task_id)
            if parent is not None and parent.status in ACTIVE:
                position = task_id - arrays.array_of(parent).first_id
                await self._stores.arrays.make(arrays.documents(parent, [position], now=clock.now()))

    async def _missing(self) -> list[str]:
        """Return the nodes that were not listed yet and are not lost."""
        restoration = await self._stores.restorations.current()
        if restoration is None:
            return []
        nodes = {*self._executor.node_names(), *(host.name for host in await self._stores.hosts.list())}
        lost = {silence.node for silence in await self._stores.unreachable_nodes.list() if silence.is_lost(self._after)}
        return sorted(nodes - lost - set(restoration.seen))
