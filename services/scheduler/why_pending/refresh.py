"""Recompute stale pending reasons of shapes, a bounded number per pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.reservation import Reservation
from services.scheduler.why_pending.node_verdicts import NodeReasons
from shared.models.work import Pending

AGE = 2.0  #: seconds until the reason of a shape is stale
MOST = 500  #: reasons computed in one pass


class ShapeReasons:
    """The time at which each unplaced shape was last explained, in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._explained: dict[str, float] = {}

    @property
    def explained(self) -> Mapping[str, float]:
        """The unplaced shapes that have a reason, and when it was computed."""
        return self._explained

    def refresh(
        self,
        unplaced: Mapping[str, Pending],
        nodes: Sequence[NodeState],
        *,
        now: float,
        reservation: Reservation | None = None,
        all_were_offered: bool = True,
    ) -> tuple[dict[str, str], bool]:
        """
        Return new reasons by shape, and whether shapes without any reason are left. Shapes without a reason come first,
        then those with the oldest. `nodes` are as the plan leaves them: a task that had no room when it was offered has
        none now.
        """
        if all_were_offered:
            self._explained = {shape: at for shape, at in self._explained.items() if shape in unplaced}
        stale = [shape for shape in unplaced if now - self._explained.get(shape, float("-inf")) >= AGE]
        stale.sort(key=lambda shape: self._explained.get(shape, float("-inf")))
        if not stale:
            return {}, False
        node_reasons = NodeReasons(nodes, reservation)
        reasons = {shape: node_reasons.sentence(unplaced[shape]) for shape in stale[:MOST]}
        self._explained.update(dict.fromkeys(reasons, now))
        return reasons, any(shape not in self._explained for shape in stale[MOST:])
