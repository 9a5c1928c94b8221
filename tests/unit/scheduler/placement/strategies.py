"""Hypothesis strategies: pending tasks, partly allocated nodes, and the terms of a pass."""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

from services.scheduler.placement.backfill import Rules
from services.scheduler.placement.node_state import Allocation, NodeState
from services.scheduler.placement.planning import Arrays, Terms
from services.scheduler.placement.ranking import RANKINGS
from shared.units.sizes import GB
from tests.support import samples

NOW = samples.NOW
DEVICES = ("0", "1", "2")

tasks = st.builds(
    samples.pending,
    st.integers(1, 60),
    user=st.sampled_from(["alice", "bob"]),
    cpus=st.sampled_from([0.5, 1.0, 2.0, 4.0, 9.0]),
    memory=st.sampled_from([GB, 2 * GB, 8 * GB]),
    gpus=st.sampled_from([0, 0, 0, 1, 2]),
    ports=st.sampled_from([0, 0, 0, 1, 2]),
    labels=st.sampled_from([(), (), ("storage==ssd",), ("storage!=ssd",), ("storage==ssd", "zone==a")]),
    avoid=st.sampled_from([(), (), ("n0",), ("n0", "n1")]),
    parent=st.sampled_from([None, None, 100, 101]),
    lifespan=st.sampled_from([None, None, 10.0, 100.0]),
    queued_at=st.sampled_from([NOW - 1000, NOW - 20, NOW]),
)
queues = st.lists(tasks, unique_by=lambda task: task.id, max_size=15)


@st.composite
def nodes(draw: st.DrawFn) -> list[NodeState]:
    """Draw up to four partly allocated nodes."""
    made = []
    for number in range(draw(st.integers(0, 4))):
        node = samples.node(
            f"n{number}",
            draw(st.sampled_from([4.0, 8.0])),
            gpus=DEVICES[: draw(st.integers(0, 3))],
            labels=draw(st.sampled_from([{}, {"storage": "ssd"}, {"storage": "hdd"}, {"storage": "ssd", "zone": "a"}])),
            ports=range(10_000, 10_003),
            ready=draw(st.sampled_from([True, True, True, False])),
        )
        for _ in range(draw(st.integers(0, 3))):
            node.charge(
                Allocation(
                    node.name,
                    draw(st.sampled_from([0.0, 1.0, 2.0, 3.0])),
                    draw(st.sampled_from([0, GB, 4 * GB])),
                    tuple(node.free_gpus[: draw(st.integers(0, 1))]),
                    tuple(sorted(set(node.ports) - node.used_ports)[: draw(st.integers(0, 1))]),
                    draw(st.sampled_from([None, NOW - 5, NOW + 50])),
                )
            )
        assume(node.free_cpus >= 0 and node.free_memory >= 0)
        made.append(node)
    return made


terms = st.builds(
    Terms,
    ranking=st.sampled_from(list(RANKINGS.values())),
    rules=st.builds(Rules, now=st.just(NOW), reserve_after=st.sampled_from([0.0, 60.0])),
    arrays=st.builds(
        Arrays,
        limits=st.dictionaries(st.sampled_from([100, 101]), st.integers(1, 3)),
        placed=st.dictionaries(st.sampled_from([100, 101]), st.integers(0, 3)),
    ),
)
