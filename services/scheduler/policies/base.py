"""What a scheduling policy is."""

from __future__ import annotations

from typing import Protocol

from services.scheduler.policies.view import Score, View
from services.scheduler.queue.lanes import Lanes
from shared.models.work import Pending


class Pass(Protocol):
    """
    Decides in one planning pass who is offered the next placement, never who gets which node. `pop` is followed by exactly one
    of `charge`, `skip`, `skip_lasting` and `hold`.
    """

    def pop(self) -> Pending | None:
        """The task whose turn it is; None when nobody is left to be offered anything."""
        ...

    def charge(self, task: Pending) -> None:
        """`task` was placed: count it against its owner, and go on to the one behind it."""
        ...

    def skip(self, task: Pending) -> None:
        """No node has room for `task`: nothing of its shape is offered again in this pass."""
        ...

    def skip_lasting(self, task: Pending) -> None:
        """
        The node with room for `task` is kept for another one until some time: nothing of its shape that may run for as long is
        offered again in this pass.
        """
        ...

    def hold(self, task: Pending) -> None:
        """
        `task` has to wait for a reason that concerns its lane alone, a limit of its array for example: nothing of this lane is
        offered again in this pass.
        """
        ...


class Policy(Protocol):
    """
    Whose turn it is. One object lives as long as the service and keeps nothing from one pass to the next: what was used is in
    the view.
    """

    @property
    def needs_shares(self) -> bool:
        """Whether the view has to say what users and projects used, and how much is due to them."""
        ...

    def begin(self, lanes: Lanes, view: View) -> Pass:
        """A pass over `lanes`, which stay as they are until it is over."""
        ...

    def score(self, task: Pending, view: View) -> Score:
        """How urgent `task` is, by parts; the lowest total goes first."""
        ...
