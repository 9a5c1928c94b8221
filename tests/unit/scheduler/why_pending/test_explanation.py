"""Explanations have exactly the reasons that apply, in constructed situations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from services.scheduler.placement.backfill import Rules, reserve
from services.scheduler.placement.node_state import NodeState
from services.scheduler.policies.view import Score
from services.scheduler.why_pending import explanation
from services.scheduler.why_pending.explanation import Facts
from shared.models.quota import Excess, Scope, ScopeKind
from shared.models.task import Array
from shared.models.work import Pending
from shared.units.sizes import GB
from tests.support import samples

NOW = 1_700_000_000.0
ARRAY = Array(start=1, end=4, step=1, count=4, first_id=8)
ALICE, LAB = Scope(ScopeKind.USER, "alice"), Scope(ScopeKind.PROJECT, "lab")


def free(name: str = "n1", **fields: Any) -> NodeState:
    return samples.node(name, **fields)


def full(name: str = "n1", *, cpus: float = 8.0, free_cpus: float = 0.0, **fields: Any) -> NodeState:
    return replace(samples.node(name, cpus=cpus, **fields), free_cpus=free_cpus)


@dataclass(frozen=True)
class Case:
    """A task with facts about it, and the expected reasons and verdict."""

    name: str
    codes: set[str]
    task: Pending = field(default_factory=lambda: samples.pending(7))
    nodes: tuple[NodeState, ...] = field(default_factory=lambda: (free(),))
    verdict: str = "waiting"
    about: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("nothing is in its way", {"next"}, about={"before": 0}),
    Case("others come first", {"turn"}, about={"before": 3}),
    Case("it waits for another", {"dependency"}, samples.pending(7, waiting_on=(3,))),
    Case("it is too early after a failure", {"delayed"}, samples.pending(7, not_before=NOW + 30)),
    Case("the delay is over", {"next"}, samples.pending(7, not_before=NOW - 1), about={"before": 0}),
    Case("its array has as many placed as it may", {"array_limit"}, about={"array_limit": (2, 2)}),
    Case("its array may have more", {"next"}, about={"array_limit": (2, 1), "before": 0}),
    Case("its array is suspended", {"array_suspended"}, about={"array_suspended": True}),
    Case(
        "its user's quota is held by tasks that run",
        {"user_quota"},
        about={"excesses": [Excess(ALICE, "cpu", 4, 1, 3, 1, final=False)]},
    ),
    Case(
        "its project's quota is used up",
        {"project_quota"},
        verdict="never",
        about={"excesses": [Excess(LAB, "time", 60, 60, 0, 0, final=True)]},
    ),
    Case("it is an array, of which only children are placed", {"children"}, samples.pending(7, array=ARRAY)),
    Case(
        "it is an array that is suspended",
        {"array_suspended"},
        samples.pending(7, array=ARRAY),
        about={"array_suspended": True},
    ),
    Case("the system is in maintenance", {"maintenance"}, about={"in_maintenance": True}),
    Case("there are no nodes", {"no_nodes"}, nodes=()),
    Case("no cores are free", {"cpu"}, nodes=(full(),)),
    Case("no memory is free", {"memory"}, nodes=(replace(free(), free_memory=0),)),
    Case("neither is free", {"cpu", "memory"}, nodes=(replace(full(), free_memory=0),)),
    Case("no node is as large", {"never", "cpu"}, samples.pending(7, cpus=9.0), verdict="never"),
    Case("no node has as much memory", {"never", "memory"}, samples.pending(7, memory=17 * GB), verdict="never"),
    Case("no node has GPUs", {"never", "gpus"}, samples.pending(7, gpus=1), verdict="never"),
    Case(
        "all GPUs are taken",
        {"gpus"},
        samples.pending(7, gpus=1),
        nodes=(replace(free(), gpus=2, free_gpus=[]),),
    ),
    Case("no node has the label", {"never", "label"}, samples.pending(7, labels=("storage==ssd",)), verdict="never"),
    Case(
        "the node with the label is full",
        {"cpu"},
        samples.pending(7, labels=("storage==ssd",)),
        nodes=(free(), replace(full("n2"), labels={"storage": "ssd"})),
    ),
    Case(
        "all ports are taken",
        {"ports"},
        samples.pending(7, ports=1),
        nodes=(replace(free(), ports=range(10000, 10001), used_ports={10000}),),
    ),
    Case("the node does not answer", {"not_ready"}, nodes=(replace(free(), ready=False, reason="gone"),)),
    Case(
        "the node that has room is in maintenance, the other one is full",
        {"maintenance", "cpu"},
        nodes=(replace(free(), ready=False, reason="in maintenance"), full("n2")),
    ),
    Case("every node failed it before", {"never", "avoided"}, samples.pending(7, avoid=("n1",)), verdict="never"),
    Case(
        "there is enough, but not on one node",
        {"fragmented", "cpu"},
        samples.pending(7, cpus=4.0),
        nodes=(full(free_cpus=3), full("n2", free_cpus=3)),
    ),
    Case(
        "all at once",
        {"dependency", "delayed", "user_quota", "cpu"},
        samples.pending(7, waiting_on=(3, 4), not_before=NOW + 1),
        nodes=(full(),),
        about={"excesses": [Excess(ALICE, "ram", 4, 1, 3, 1, final=False)]},
    ),
]


def explained(case: Case) -> dict[str, Any]:
    about = {"now": NOW, "looked_at": NOW - 2, "nodes": case.nodes, "policy": "fifo", "offered": 5, **case.about}
    return explanation.explain(case.task, Facts(**about))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_explanation_has_exactly_the_reasons_that_apply(case: Case) -> None:
    found = explained(case)
    assert {reason["code"] for reason in found["reasons"]} == case.codes
    assert found["verdict"] == case.verdict
    assert all(reason["text"] for reason in found["reasons"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_node_has_a_verdict(case: Case) -> None:
    found = explained(case)
    assert [verdict["node"] for verdict in found["nodes"]] == [node.name for node in case.nodes]
    assert all(verdict["fits"] is not bool(verdict["reasons"]) for verdict in found["nodes"])


def test_a_reason_of_the_nodes_has_the_numbers_of_the_best_node() -> None:
    found = explained(
        Case("", set(), samples.pending(7, cpus=4.0), (full(free_cpus=1), full("n2", free_cpus=3), full("n3")))
    )
    (reason,) = (reason for reason in found["reasons"] if reason["code"] == "cpu")
    assert (reason["need"], reason["have"], reason["total"], reason["unit"]) == (4, 3, 8, "cpu")
    assert "n2" in reason["text"]


def test_a_node_reserved_for_another_task_is_a_reason() -> None:
    large = samples.pending(5, cpus=8.0, queued_at=NOW - 1000)
    node = full(free_cpus=4)
    kept = reserve(large, [node], Rules(now=NOW))
    assert kept is not None
    found = explained(Case("", set(), samples.pending(7, cpus=2.0), (node,), about={"reservation": kept}))
    assert {reason["code"] for reason in found["reasons"]} == {"reserved"}
    own = explained(Case("", set(), large, (node,), about={"reservation": kept}))
    assert own["reservation"]["node"] == "n1"
    assert {reason["code"] for reason in own["reasons"]} == {"cpu"}


def test_an_explanation_has_position_score_and_age() -> None:
    found = explained(Case("", set(), about={"before": 2, "score": Score({"waiting": -3.0, "user_cpu": 1.0})}))
    assert (found["position"], found["pending"], found["age"]) == (3, 5, 2)
    assert found["score"] == {"waiting": -3.0, "user_cpu": 1.0, "total": -2.0}


def test_a_reason_names_the_event_that_would_end_it_unless_none_would() -> None:
    for case in CASES:
        for reason in explained(case)["reasons"]:
            assert "unblock" in reason or case.verdict == "never" or reason["code"] in {"no_nodes", "fragmented"}, (
                case.name
            )
