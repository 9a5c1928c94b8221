"""What no node had room for in this pass: who needs as much or more need not ask again. Pure."""

from __future__ import annotations

from collections import defaultdict

from services.scheduler.placement.labels import Condition, LabelIndex
from services.scheduler.placement.reservation import Amounts, need_of
from shared.models.work import Pending

_MOST = 32  #: needs remembered for nodes of one kind


class Refusals:
    """
    The smallest needs that found no room. Free room only shrinks within a pass, so they stay refused; with thousands of
    shapes that differ by a little, a few of them speak for all.
    """

    def __init__(self, labels: LabelIndex) -> None:
        self._needs: defaultdict[tuple[tuple[Condition, ...], tuple[str, ...]], list[Amounts]] = defaultdict(list)
        self._labels = labels

    def covers(self, task: Pending) -> bool:
        """Whether something that needs no more than `task`, and may go to the same nodes, found no room."""
        refused = self._needs.get((self._labels.telling(task.labels), task.avoid))
        return refused is not None and any(_is_within(small, task) for small in refused)

    def add(self, task: Pending) -> None:
        """No node had room for `task`, which was not covered."""
        need = need_of(task)
        known = self._needs[self._labels.telling(task.labels), task.avoid]
        known[:] = [small for small in known if not _is_below(need, small)]
        if len(known) < _MOST:
            known.append(need)


def _is_within(small: Amounts, task: Pending) -> bool:
    return (
        small.cpus <= task.cpus
        and small.memory <= task.memory
        and small.gpus <= task.gpus
        and small.ports <= task.ports
    )


def _is_below(one: Amounts, other: Amounts) -> bool:
    return one.cpus <= other.cpus and one.memory <= other.memory and one.gpus <= other.gpus and one.ports <= other.ports
