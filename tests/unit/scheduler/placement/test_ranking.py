"""Each ranking finds the best of all nodes that have room, as a scan of all does."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from services.scheduler.placement import feasibility, ranking
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.ranking import RANKINGS, BestFit, Spread
from shared.models.work import Pending
from tests.unit.scheduler.placement.strategies import nodes, tasks


def _tightness(node: NodeState) -> tuple[float, ...]:
    return len(node.free_gpus), node.free_cpus, node.free_memory


def _fullness(task: Pending, node: NodeState) -> tuple[float, ...]:
    shares = sorted((node.free_cpus / node.cpus, node.free_memory / node.memory))
    gpus = -len(node.free_gpus) if task.gpus else bool(node.free_gpus)
    return (gpus, -shares[0], -shares[1])


@pytest.fixture(params=[1, 8], ids=["each node is looked at", "nodes are searched"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enable the linear search for few matching nodes, which so few nodes as here would never trigger."""
    monkeypatch.setattr(ranking, "FEW", request.param)


@pytest.mark.usefixtures("few")
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(tasks, max_size=10), nodes())
def test_binpack_takes_the_fullest_node_that_has_room(waiting: list[Pending], states: list[NodeState]) -> None:
    ranked = BestFit(states)
    for task in waiting:
        able = [node for node in states if feasibility.fits(task, node)]
        found = ranked.find(task)
        assert (found is None) is (not able)
        if found is not None:
            assert _tightness(found) == min(_tightness(node) for node in able)
            ranked.take(task, found)


@pytest.mark.usefixtures("few")
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(tasks, max_size=10), nodes())
def test_spread_takes_the_emptiest_node_that_has_room(waiting: list[Pending], states: list[NodeState]) -> None:
    ranked = Spread(states)
    for task in waiting:
        able = [node for node in states if feasibility.fits(task, node)]
        found = ranked.find(task)
        assert (found is None) is (not able)
        if found is not None:
            assert _fullness(task, found) == min(_fullness(task, node) for node in able)
            ranked.take(task, found)


@given(st.sampled_from(list(RANKINGS.values())), tasks, nodes(), st.integers(0, 3))
def test_the_reserved_node_is_not_found(kind: type[BestFit], task: Pending, states: list[NodeState], kept: int) -> None:
    without = states[kept] if kept < len(states) else None
    found = kind(states).find(task, without=without)
    others = [node for node in states if node is not without]
    assert found is not without or found is None
    assert (found is None) is not any(feasibility.fits(task, node) for node in others)
