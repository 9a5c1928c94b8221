"""Wait for an unreachable node, and give up its attempts once the wait is over."""

from __future__ import annotations

import structlog

from services.watcher.reconcile.record_ends import Recorder
from services.watcher.reconcile.settle import Settler
from shared import clock, errors
from shared.models.node import UnreachableNode
from shared.observe import metrics
from shared.settings import Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)


class NodeLoss:
    """
    Records each failed call to one node. After `node_lost_after` seconds of failures it ends the node's attempts or restarts
    them elsewhere. If the node comes back later, reconciling removes what still runs there as strays.
    """

    def __init__(self, node: str, stores: Stores, recorder: Recorder, settler: Settler, settings: Settings) -> None:
        self._node = node
        self._stores = stores
        self._recorder = recorder
        self._settler = settler
        self._after = settings.node_lost_after
        #: Longer than one failed call with the wait before the next.
        self._gap = 2 * (settings.docker_timeout + settings.reconcile_seconds)
        self._heard_at: float | None = None
        self._noted = True  # an earlier watcher may have recorded the node

    def answers(self) -> None:
        """Note that the node answers."""
        self._heard_at = clock.monotonic()
        self._settler.note_node(lost=False)

    async def heard(self) -> None:
        """Record the node as reachable, after its list was acted upon. Raises `errors.StoreUnavailable`."""
        if self._noted:
            await self._stores.unreachable_nodes.end(self._node)
            await self._stores.nodes.note_stuck(self._node, 0)  # runs that still cannot be killed are recorded again
            self._noted = False
            metrics.NODE_SILENT.labels(node=self._node).set(0)

    async def unheard(self, error: errors.NodeUnavailable) -> None:
        """Record a failed call, and give up the node's attempts once it is lost. Raises `errors.StoreUnavailable`."""
        self._noted = True
        unheard = clock.monotonic() - self._heard_at if self._heard_at is not None else 0.0
        silence = await self._stores.unreachable_nodes.note(self._node, str(error), unheard=unheard, gap=self._gap)
        metrics.NODE_SILENT.labels(node=self._node).set(silence.seconds)
        lost = silence.is_lost(self._after)
        self._settler.note_node(lost=lost)
        if lost:
            await self._give_up(silence)

    async def _give_up(self, silence: UnreachableNode) -> None:
        placed = await self._stores.work.placed(self._node)
        # A task that was placed there since gets the same time.
        lost = [task for task in placed if silence.at - task.status_at >= self._after]
        if lost:
            log.error(
                "node.lost", node=self._node, silent=round(silence.seconds), tasks=len(lost), reason=silence.reason
            )
            await self._recorder.lose(lost, silent=silence.at - silence.since)
        self._settler.wake()
