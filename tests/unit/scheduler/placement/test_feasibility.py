"""Reasons of nodes for not taking a task: complete, with numbers, and as a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from services.scheduler.placement import feasibility
from services.scheduler.placement.node_state import NodeState
from services.scheduler.placement.reservation import Amounts, Reservation
from services.scheduler.why_pending import node_verdicts
from shared.models.pending_reason import PendingReason
from tests.support import samples

GPUS = ("0", "1", "2", "3")
PORTS = range(10_000, 10_004)


@pytest.mark.parametrize(
    ("wanted", "has", "code", "text", "numbers"),
    [
        ({"cpus": 4.0}, {"free_cpus": 3.0}, PendingReason.CPU, "n1 has 3 of 8 cpu free", (4, 3, 8, "cpu")),
        ({"memory": 2**32}, {"free_memory": 2**31}, PendingReason.MEMORY, "n1 has 2 of 16 GB free", (4, 2, 16, "GB")),
        (
            {"gpus": 2},
            {"gpus": GPUS, "free_gpus": ["3"]},
            PendingReason.GPUS,
            "n1 has 1 of 4 gpus free",
            (2, 1, 4, "gpus"),
        ),
        (
            {"ports": 2},
            {"ports": PORTS, "used_ports": {10_000, 10_001, 10_003}},
            PendingReason.PORTS,
            "n1 has 1 of 4 ports free",
            (2, 1, 4, "ports"),
        ),
        ({"cpus": 9.0}, {}, PendingReason.CPU, "n1 has 8 cpu in all", (9, 8, 8, "cpu")),
        ({"gpus": 1}, {}, PendingReason.GPUS, "n1 has 0 gpus in all", (1, 0, 0, "gpus")),
    ],
)
def test_a_reason_has_the_amounts_needed_free_and_in_all(
    wanted: dict[str, Any],
    has: dict[str, Any],
    code: PendingReason,
    text: str,
    numbers: tuple[float, float, float, str],
) -> None:
    task, node = samples.pending(**wanted), samples.node("n1", **has)
    (reason,) = feasibility.why_not(task, node)
    assert (reason.code, reason.text) == (code, text)
    assert (reason.need, reason.have, reason.total, reason.unit) == numbers
    assert reason.ever is feasibility.could_ever_fit(task, node)
    assert not feasibility.fits(task, node)


@pytest.mark.parametrize(
    ("label", "labels", "text"),
    [
        ("storage==ssd", {"storage": "hdd"}, "n1 has storage=hdd, not ssd"),
        ("storage==ssd", {}, "n1 has no label storage"),
        ("storage!=ssd", {"storage": "ssd"}, "n1 has storage=ssd"),
        ("storage==ssd", {"storage": "ssd"}, None),
        ("storage!=ssd", {"storage": "hdd"}, None),
        ("storage!=ssd", {}, None),
        ("a.b/c==x.y", {"a.b/c": "x.y"}, None),
    ],
)
def test_a_node_matches_the_labels_of_a_task_or_the_reason_names_its_own(
    label: str, labels: dict[str, str], text: str | None
) -> None:
    task, node = samples.pending(labels=(label,)), samples.node("n1", labels=labels)
    assert [reason.text for reason in feasibility.why_not(task, node)] == ([text] if text else [])
    assert feasibility.fits(task, node) is (text is None)
    assert feasibility.could_ever_fit(task, node) is (text is None)


def test_a_node_names_all_its_reasons_and_not_only_the_first() -> None:
    task = samples.pending(cpus=4.0, gpus=1, labels=("storage==ssd", "zone==a"), ports=1, avoid=("n1",))
    node = samples.node("n1", free_cpus=1.0, ready=False, reason="refused", labels={"zone": "b"})
    reasons = feasibility.why_not(task, node)
    expected = ["not_ready", "avoided", "label", "label", "cpu", "gpus", "ports"]
    assert [reason.code for reason in reasons] == expected
    assert [reason.code for reason in reasons if reason.ever] == [PendingReason.NOT_READY, PendingReason.CPU]


def test_maintenance_and_an_unreachable_node_have_different_codes() -> None:
    codes = [
        feasibility.why_not(samples.pending(), samples.node("n1", ready=False, reason=reason))[0].code
        for reason in ("in maintenance", "timed out", None)
    ]
    assert codes == [PendingReason.MAINTENANCE, PendingReason.NOT_READY, PendingReason.NOT_READY]


KEPT = Reservation(12, "large", "n1", 1_700_000_000.0, Amounts(0, 0, 0, 0), now=1_600_000_000.0)


def test_the_reason_of_a_reserved_node_names_the_task() -> None:
    task, node = samples.pending(1), samples.node("n1")
    (reason,) = feasibility.why_not(task, node, KEPT)
    assert (reason.code, reason.text) == (PendingReason.RESERVED, "n1 is reserved for task 12")
    assert feasibility.why_not(samples.pending(12), node, KEPT) == ()
    assert feasibility.why_not(task, samples.node("n2"), KEPT) == ()
    assert feasibility.why_not(samples.pending(1, lifespan=60.0), node, KEPT) == ()


SSD, HDD = {"storage": "ssd"}, {"storage": "hdd"}


@pytest.mark.parametrize(
    ("needs", "nodes", "reason", "text"),
    [
        ({}, [], PendingReason.NO_NODES, "needs 4 cpu and 1 GB, and there are no nodes"),
        (
            {"gpus": 2},
            [samples.node("n1", gpus=GPUS, free_gpus=["3"])],
            PendingReason.NO_ROOM,
            "needs 4 cpu, 1 GB and 2 gpus: n1 has 1 of 4 gpus free",
        ),
        (
            {},
            [samples.node("n1", free_cpus=3.0), samples.node("n2", free_cpus=2.0)],
            PendingReason.FRAGMENTED,
            "needs 4 cpu and 1 GB (there is as much free, but not on one node): "
            "n1 has 3 of 8 cpu free; n2 has 2 of 8 cpu free",
        ),
        (
            {},
            # Free resources of nodes that could never take the task, or are not ready, do not count.
            [
                samples.node("n1", free_cpus=3.0),
                samples.node("n2", 2.0),
                samples.node("n3", free_cpus=2.0, ready=False, reason="gone"),
            ],
            PendingReason.NO_ROOM,
            "needs 4 cpu and 1 GB: n1 has 3 of 8 cpu free; n3 is not ready (gone)",
        ),
        (
            {"labels": ("storage==ssd",)},
            [samples.node("n1", labels=SSD, free_cpus=1.0), samples.node("n2", labels=HDD)],
            PendingReason.NO_ROOM,
            "needs 4 cpu, 1 GB and storage==ssd: n1 has 1 of 8 cpu free",
        ),
        (
            {"labels": ("storage==ssd",)},
            [samples.node("n1", labels=HDD), samples.node("n2")],
            PendingReason.NEVER,
            "can never run here: needs 4 cpu, 1 GB and storage==ssd, but no node has storage==ssd",
        ),
        (
            {"labels": ("storage==ssd", "zone!=a")},
            [samples.node("n1", labels={**SSD, "zone": "a"}), samples.node("n2")],
            PendingReason.NEVER,
            "can never run here: needs 4 cpu, 1 GB, storage==ssd and zone!=a, but no node has storage==ssd and zone!=a",
        ),
        (
            {"labels": ("storage==ssd",)},
            [samples.node("n1", 2.0, labels=SSD), samples.node("n2")],
            PendingReason.NEVER,
            "can never run here: needs 4 cpu, 1 GB and storage==ssd, but the most that a node with storage==ssd has "
            "is 2 cpu (n1) and 16 GB (n1)",
        ),
        (
            {"gpus": 1},
            [samples.node("n1")],
            PendingReason.NEVER,
            "can never run here: needs 4 cpu, 1 GB and 1 gpu, but the most that a node has is 8 cpu (n1), "
            "16 GB (n1) and 0 gpus (n1)",
        ),
        (
            {"ports": 5},
            [samples.node("n1", ports=PORTS)],
            PendingReason.NEVER,
            "can never run here: needs 4 cpu, 1 GB and 5 ports, but the most that a node has is 8 cpu (n1), "
            "16 GB (n1) and 4 ports",
        ),
        (
            {"avoid": ("n1", "n2")},
            [samples.node("n1"), samples.node("n2"), samples.node("n3", 1.0)],
            PendingReason.NEVER,
            "can never run here: needs 4 cpu and 1 GB, but n1 and n2, which could take it, failed it before",
        ),
        (
            {"avoid": ("n1",)},
            [samples.node("n1"), samples.node("n2", free_cpus=0.0)],
            PendingReason.NO_ROOM,
            "needs 4 cpu and 1 GB: n2 has 0 of 8 cpu free",
        ),
        ({}, [samples.node("n1")], None, "a node has room"),
    ],
)
def test_all_nodes_together_have_one_reason(
    needs: dict[str, Any], nodes: list[NodeState], reason: PendingReason | None, text: str
) -> None:
    found = node_verdicts.collect(samples.pending(**{"cpus": 4.0, **needs}), nodes)
    assert (found.reason, found.text) == (reason, text)
    assert [verdict.node for verdict in found.nodes] == [node.name for node in nodes]


def test_a_reservation_is_named_to_the_tasks_it_holds_back_and_to_its_own() -> None:
    nodes = [samples.node("n1"), samples.node("n2", free_cpus=0.0)]
    found = node_verdicts.collect(samples.pending(1), nodes, KEPT)
    until = "n1 is reserved for task 12, it is expected to start at 2023-11-14T22:13:20Z"
    assert found.reason is PendingReason.RESERVED
    assert found.text == f"needs 1 cpu and 1 GB: n2 has 0 of 8 cpu free; {until}"
    own = node_verdicts.collect(samples.pending(12, cpus=8.0, shape="large"), [samples.node("n1", free_cpus=1.0)], KEPT)
    assert own.text == f"needs 8 cpu and 1 GB: n1 has 1 of 8 cpu free; {until}"
