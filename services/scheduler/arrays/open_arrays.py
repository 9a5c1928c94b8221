"""The open arrays, in the memory of the leader."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from shared.models.task import Array, Task
from shared.rules import arrays

WINDOW_FIRST = 100  #: created children of a new array that wait, before the rate of placements is known


@dataclass(slots=True)
class OpenArray:
    """An array that is not over. Times are those of the monotonic clock."""

    parent: Task
    window: int  #: created children that should wait
    filled_at: float = float("-inf")
    ended: bool = True  #: children may have ended since the last count
    count_at: float = float("-inf")  #: earliest time of the next count

    @property
    def array(self) -> Array:
        return arrays.array_of(self.parent)


class OpenArrays:
    """The open arrays, by the id of the parent."""

    def __init__(self) -> None:
        self._open: dict[int, OpenArray] = {}
        self._ranges: list[tuple[int, int]] = []  # (first id of the children, parent), sorted
        self.changed: set[int] = set()  #: parents that another process changed, to be read again

    def __contains__(self, task_id: int) -> bool:
        return task_id in self._open

    def all(self) -> Sequence[OpenArray]:
        return list(self._open.values())

    def enter(self, parent: Task) -> Task | None:
        """Record the current state of a parent, and return the state before; None if it is new."""
        held = self._open.get(parent.id)
        if held is None:
            self._open[parent.id] = OpenArray(parent, WINDOW_FIRST)
            bisect.insort(self._ranges, (arrays.array_of(parent).first_id, parent.id))
            return None
        before, held.parent = held.parent, parent
        return before

    def forget(self, task_id: int) -> None:
        held = self._open.pop(task_id, None)
        if held is not None:
            self._ranges.remove((held.array.first_id, task_id))

    def others(self, ids: Collection[int]) -> list[int]:
        """Return the open parents that are not among `ids`."""
        return [task_id for task_id in self._open if task_id not in ids]

    def note_ended(self, task_ids: Iterable[int]) -> None:
        """Mark the arrays whose children are among these ended tasks."""
        for task_id in task_ids:
            position = bisect.bisect_right(self._ranges, (task_id, task_id))
            held = self._open.get(self._ranges[position - 1][1]) if position else None
            if held is not None and held.array.has(task_id):
                held.ended = True
