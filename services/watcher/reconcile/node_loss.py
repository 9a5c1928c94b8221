"""Wait for a node that does not answer, and give up what it ran when it was waited for long enough."""

from __future__ import annotations

import structlog

from services.watcher.reconcile.record import Recorder
from services.watcher.reconcile.settle import Settler
from shared import clock, errors
from shared.models.unreachable_node import UnreachableNode
from shared.observe import metrics
from shared.settings import Settings
from shared.store.stores import Stores

log = structlog.get_logger(__name__)


class Patience:
    """
    Notes each try at one node, and after `node_lost_after` seconds of tries in vain ends its attempts or has them made elsewhere.
    When the node comes back after that, what still runs there is nobody's, and reconciling removes it.
    """

    def __init__(self, node: str, stores: Stores, recorder: Recorder, settler: Settler, settings: Settings) -> None:
        self._node = node
        self._stores = stores
        self._recorder = recorder
        self._settler = settler
        self._after = settings.node_lost_after
        #: Longer than one try takes, with the wait for the next.
        self._gap = 2 * (settings.docker_timeout + settings.reconcile_seconds)
        self._heard_at: float | None = None
        self._noted = True  # an earlier watcher may have noted something

    def answers(self) -> None:
        """It answers again, or still."""
        self._heard_at = clock.monotonic()
        self._settler.note_node(lost=False)

    async def heard(self) -> None:
        """It answered, and what it said was acted upon. Raises `errors.StoreUnavailable`."""
        if self._noted:
            await self._stores.unreachable_nodes.end(self._node)
            await self._stores.nodes.note_stuck(self._node, 0)  # what still cannot be killed is noted anew
            self._noted = False
            metrics.NODE_SILENT.labels(node=self._node).set(0)

    async def unheard(self, error: errors.NodeUnavailable) -> None:
        """It was tried in vain. Raises `errors.StoreUnavailable`."""
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
        # What somebody managed to place there since is given the same time.
        lost = [task for task in placed if silence.at - task.status_at >= self._after]
        if lost:
            log.error(
                "node.lost", node=self._node, silent=round(silence.seconds), tasks=len(lost), reason=silence.reason
            )
            await self._recorder.lose(lost, silent=silence.at - silence.since)
        self._settler.wake()
