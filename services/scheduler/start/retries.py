"""Decide after which delay, and how often, an undone start is retried."""

from __future__ import annotations

from collections import Counter

from shared import errors

MOST = 8  #: undone starts of a task because of a port or a registry; one more ends the task
FULL = 15.0  #: seconds until a full node may have room
LONGEST = 600.0  #: seconds of delay at most
SHUN = 300.0  #: seconds for which a port that another program listens on is not given to tasks

PASSING = (errors.PortTaken, errors.ImageThrottled, errors.NodeFull, errors.NodeUnwell, errors.StorageUnavailable)
#: Errors that the next attempt may not meet.
Passing = errors.PortTaken | errors.ImageThrottled | errors.NodeFull | errors.NodeUnwell | errors.StorageUnavailable


class Retries:
    """Numbers of undone starts, by task. They are in memory: another leader counts from 0."""

    def __init__(self) -> None:
        self._undone: Counter[int] = Counter()

    def delay(self, task_id: int, error: Passing) -> float | None:
        """Return the seconds until the next attempt after `error`; None if the task had enough attempts."""
        self._undone[task_id] += 1
        tries = self._undone[task_id]
        if isinstance(error, errors.NodeFull | errors.NodeUnwell | errors.StorageUnavailable):
            # The task is not to blame for an error of the installation, and is retried without end.
            return float(min(LONGEST, FULL * 2 ** min(tries - 1, MOST)))
        if tries > MOST:
            return None
        if isinstance(error, errors.PortTaken):
            return 0.0  # the next attempt gets another port
        return float(min(LONGEST, max(1.0, error.retry_after) * 2 ** (tries - 1)))

    def forget(self, task_id: int) -> None:
        """Forget a task that started or ended."""
        self._undone.pop(task_id, None)
