"""What a scheduling policy is."""

from __future__ import annotations

from typing import Protocol

from shared.store.work import Pending


class Policy(Protocol):
    """
    Decides who is offered the next placement, never who gets which node. One object serves one pass; `pop` is followed by
    exactly one of `charge` and `skip`.
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
