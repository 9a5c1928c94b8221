"""The interface of scheduling policies."""

from __future__ import annotations

from typing import Protocol

from services.scheduler.policies.view import Score, View
from services.scheduler.queue.lanes import Lanes
from shared.models.work import Pending


class Pass(Protocol):
    """
    The order of tasks within one planning pass. It never chooses nodes. Each `pop` is followed by exactly one of
    `charge`, `skip`, `skip_lasting` and `hold`.
    """

    def pop(self) -> Pending | None:
        """Return the next task to place; None when no task is left."""
        ...

    def charge(self, task: Pending) -> None:
        """Count `task`, which was placed, against its owner, and advance to the task behind it."""
        ...

    def skip(self, task: Pending) -> None:
        """Skip the shape of `task`, for which no node has room, for the rest of the pass."""
        ...

    def skip_lasting(self, task: Pending) -> None:
        """
        For the rest of the pass, skip tasks of the same shape as `task` that may run as long or longer: the only node with
        room is reserved for another task.
        """
        ...

    def hold(self, task: Pending) -> None:
        """
        Skip the lane of `task` for the rest of the pass, for a reason that concerns this lane alone, like the limit of
        its array.
        """
        ...


class Policy(Protocol):
    """
    A scheduling policy. One object lives as long as the service and keeps no state between passes: usage comes with the
    view.
    """

    @property
    def needs_shares(self) -> bool:
        """True if the view must contain usage and priorities of users and projects."""
        ...

    def begin(self, lanes: Lanes, view: View) -> Pass:
        """Begin a pass over `lanes`, which do not change until it is over."""
        ...

    def score(self, task: Pending, view: View) -> Score:
        """Return the urgency of `task`, by parts; the lowest total goes first."""
        ...
