"""Requests that did not fit in this pass, to skip equal or larger ones: pure."""

from __future__ import annotations

from collections import defaultdict

from services.scheduler.placement.labels import Condition, LabelIndex
from services.scheduler.placement.reservation import Amounts, need_of
from shared.models.work import Pending

_MOST = 32  #: requests remembered for one set of nodes


class InfeasibleRequests:
    """
    The smallest requests that found no room. Free capacity only shrinks within a pass, so they stay infeasible. Among
    thousands of shapes that differ little, a few of them cover all.
    """

    def __init__(self, labels: LabelIndex) -> None:
        self._needs: defaultdict[tuple[tuple[Condition, ...], tuple[str, ...]], list[Amounts]] = defaultdict(list)
        self._labels = labels

    def covers(self, task: Pending) -> bool:
        """Check whether a request no larger than `task`, for the same nodes, found no room."""
        smaller = self._needs.get((self._labels.relevant(task.labels), task.avoid))
        return smaller is not None and any(_is_within(small, task) for small in smaller)

    def add(self, task: Pending) -> None:
        """Record that no node had room for `task`, which was not covered."""
        need = need_of(task)
        known = self._needs[self._labels.relevant(task.labels), task.avoid]
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
