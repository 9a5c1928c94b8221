"""The state of a node as operators see it."""

from __future__ import annotations

import pytest

from shared.models.node import Node
from shared.settings import Node as Host
from shared.system import inventory
from shared.system.inventory import State

STUCK = "it cannot end 2 of its runs, which were killed"


@pytest.mark.parametrize(
    ("ready", "reason", "stuck", "maintained", "state", "told"),
    [
        (True, None, None, set(), State.READY, None),
        (True, None, 0, set(), State.READY, None),
        (True, None, 2, set(), State.READY, STUCK),
        (True, None, 2, {"n1"}, State.DRAINED, STUCK),
        (False, "no space left", None, set(), State.NOT_READY, "no space left"),
        (False, "no space left", 2, set(), State.NOT_READY, "no space left"),
    ],
)
def test_a_node_shows_its_faults(
    ready: bool, reason: str | None, stuck: int | None, maintained: set[str], state: State, told: str | None
) -> None:
    node = Node(id="n1", executor="docker", ready=ready, reason=reason, cpus=4, memory=8, checked_at=0, stuck=stuck)
    (row,) = inventory.rows(
        configured=[Host(name="n1")], added=[], seen=[node], maintained=maintained, unreachable=[], placed=[]
    )
    assert (row.state, row.reason) == (state, told)
