"""Which shapes are to be told anew why they wait, a bounded number at a time, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.reservation import Reservation
from services.scheduler.why_pending.node_verdicts import Explainer
from shared.models.work import Pending

AGE = 2.0  #: seconds a reason is good for, before the same shape is explained again
MOST = 500  #: reasons found in one pass


class Verdicts:
    """When each waiting shape was last explained. Times in seconds, of a clock that only goes forward."""

    def __init__(self) -> None:
        self._explained: dict[str, float] = {}

    @property
    def waiting(self) -> Mapping[str, float]:
        """The shapes that were told why they wait, and when."""
        return self._explained

    def clear(self) -> None:
        self._explained.clear()

    def find(
        self,
        unplaced: Mapping[str, Pending],
        nodes: Sequence[NodeState],
        *,
        now: float,
        reservation: Reservation | None = None,
        all_were_offered: bool = True,
    ) -> tuple[dict[str, str], bool]:
        """
        Reasons for some of `unplaced`, those first that have none and then those whose are oldest, of the nodes as the plan
        leaves them: what had no room when it was offered has none now. And whether there are shapes left without any.
        """
        if all_were_offered:
            self._explained = {shape: at for shape, at in self._explained.items() if shape in unplaced}
        stale = [shape for shape in unplaced if now - self._explained.get(shape, float("-inf")) >= AGE]
        stale.sort(key=lambda shape: self._explained.get(shape, float("-inf")))
        if not stale:
            return {}, False
        explainer = Explainer(nodes, reservation)
        found = {shape: explainer.explain(unplaced[shape]) for shape in stale[:MOST]}
        self._explained.update(dict.fromkeys(found, now))
        return found, any(shape not in self._explained for shape in stale[MOST:])
