"""How often a start that was undone is tried again, and after how long."""

from __future__ import annotations

from collections import Counter

from shared import errors

MOST = 8  #: starts of a task that are undone for a port or a registry; the next one that would be is its end
FULL = 15.0  #: seconds until something of a node that is full may be free
LONGEST = 600.0  #: seconds before another try
SHUN = 300.0  #: seconds in which a port that was taken by a stranger is given to nobody

PASSING = (errors.PortTaken, errors.ImageThrottled, errors.NodeFull, errors.NodeUnwell, errors.StorageUnavailable)
#: What may be different at the next try.
Passing = errors.PortTaken | errors.ImageThrottled | errors.NodeFull | errors.NodeUnwell | errors.StorageUnavailable


class Retries:
    """The starts that were undone, by task. In memory: another leader counts from nothing."""

    def __init__(self) -> None:
        self._undone: Counter[int] = Counter()

    def again_in(self, task_id: int, error: Passing) -> float | None:
        """Seconds to wait before the start that failed with `error` is tried again; None: it was tried often enough."""
        self._undone[task_id] += 1
        tries = self._undone[task_id]
        if isinstance(error, errors.NodeFull | errors.NodeUnwell | errors.StorageUnavailable):
            # An error of the installation is no fault of the task, which waits for as long as it takes.
            return float(min(LONGEST, FULL * 2 ** min(tries - 1, MOST)))
        if tries > MOST:
            return None
        if isinstance(error, errors.PortTaken):
            return 0.0  # another port
        return float(min(LONGEST, max(1.0, error.retry_after) * 2 ** (tries - 1)))

    def forget(self, task_id: int) -> None:
        """It started, or ended."""
        self._undone.pop(task_id, None)
