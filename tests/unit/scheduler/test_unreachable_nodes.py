"""An unreachable node keeps its size: a task is impossible only if nodes that were seen rule it out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.cluster import Cluster
from services.scheduler.placement import last_seen
from services.scheduler.placement.node_state import NodeState
from services.scheduler.why_pending import explanation, node_verdicts
from services.scheduler.why_pending.explanation import Facts
from services.scheduler.why_pending.node_verdicts import NodeReasons
from shared.executors.types import NodeReport
from shared.models.node import Node
from shared.models.pending_reason import PendingReason
from shared.models.work import Pending
from shared.units.sizes import GB
from tests.support import samples


def silent(name: str = samples.NODE) -> NodeReport:
    """Return the report that the Docker executor makes of an engine that does not answer."""
    return NodeReport(name, "docker", False, f"node {name} does not answer", 0.0, 0, answered=False)


def test_an_unreachable_node_keeps_its_size_gpus_labels_and_version() -> None:
    cluster = Cluster()
    seen = samples.report(gpus=("a", "b"), labels={"disk": "ssd"}, version="20.10")
    cluster.observe([seen])
    cluster.observe([silent()])
    (report,) = cluster.reports
    assert report == replace(seen, ready=False, reason="node node1 does not answer", answered=False)
    (state,) = cluster.snapshot()
    assert (state.ready, state.seen, state.cpus, state.gpus) == (False, True, 8.0, 2)


def test_a_report_of_zeros_does_not_count_as_measured() -> None:
    cluster = Cluster()
    cluster.observe([samples.report()])
    cluster.observe([NodeReport(samples.NODE, "other", False, "no answer", 0.0, 0)])
    assert (cluster.snapshot()[0].cpus, cluster.snapshot()[0].memory) == (8.0, 16 * GB)


def test_configured_labels_count_while_the_node_is_unreachable() -> None:
    cluster = Cluster()
    cluster.observe([samples.report(labels={"disk": "hdd", "engine": "yes"})])
    cluster.observe([replace(silent(), labels={"disk": "ssd"})])
    assert cluster.snapshot()[0].labels == {"disk": "ssd", "engine": "yes"}


def test_a_removed_node_that_is_added_again_starts_without_a_size() -> None:
    cluster = Cluster()
    cluster.observe([samples.report()])
    cluster.observe([])
    cluster.observe([silent()])
    assert not cluster.snapshot()[0].seen


def test_a_node_that_answers_again_has_the_size_that_it_reports_now() -> None:
    cluster = Cluster()
    cluster.observe([samples.report()])
    cluster.observe([silent()])
    assert cluster.observe([samples.report(cpus=2.0)])
    assert (cluster.snapshot()[0].ready, cluster.snapshot()[0].cpus) == (True, 2.0)


def test_sizes_stored_by_an_earlier_scheduler_are_taken_over() -> None:
    before = last_seen.stored(samples.report(gpus=("a",), labels={"disk": "ssd"}), now=samples.NOW)
    cluster = Cluster()
    cluster.remember(last_seen.reports([before]))
    assert [(state.ready, state.seen, state.cpus) for state in cluster.snapshot()] == [(False, True, 8.0)]
    cluster.observe([silent()])
    (state,) = cluster.snapshot()
    assert (state.seen, state.cpus, state.gpus, state.labels) == (True, 8.0, 1, {"disk": "ssd"})


@pytest.mark.parametrize(
    "fields", [{"seen_at": None}, {"cpus": 0.0}, {"memory": 0}], ids=["never seen", "without cores", "without memory"]
)
def test_an_entry_without_sizes_stored_by_an_earlier_version_is_ignored(fields: dict[str, object]) -> None:
    sizes: dict[str, object] = {"cpus": 4.0, "memory": GB, "seen_at": samples.NOW, **fields}
    node = Node.model_validate({"id": "n1", "executor": "docker", "ready": False, "checked_at": samples.NOW, **sizes})
    assert last_seen.reports([node]) == []


@pytest.mark.parametrize(
    "task",
    [
        samples.pending(7, cpus=64.0),
        samples.pending(7, memory=900 * GB),
        samples.pending(7, gpus=3),
        samples.pending(7, ports=2),
        samples.pending(7, labels=("disk==ssd",)),
    ],
    ids=["cores", "memory", "gpus", "ports", "label"],
)
def test_with_a_node_that_was_never_seen_no_task_is_impossible(task: Pending) -> None:
    cluster = Cluster()
    cluster.observe([samples.report("n1"), replace(silent("n2"), cpus=4.0, memory=GB)])
    found = explained(task, cluster)
    assert found["verdict"] == "waiting"
    assert {reason["code"] for reason in found["reasons"]} == {"not_ready"}
    assert "n2 is not ready" in NodeReasons(cluster.snapshot()).sentence(task)
    cluster.observe([samples.report("n1"), samples.report("n2")])
    assert explained(task, cluster)["verdict"] == "never"


def explained(task: Pending, cluster: Cluster) -> dict[str, object]:
    about = {"now": samples.NOW, "looked_at": samples.NOW, "policy": "fifo", "offered": 1}
    found: dict[str, object] = explanation.explain(task, Facts(nodes=cluster.snapshot(), **about))  # type: ignore[arg-type]
    return found


_nodes = st.lists(
    st.builds(
        samples.report,
        cpus=st.sampled_from([1.0, 2.0, 4.0]),
        gb=st.sampled_from([1, 2]),
        gpus=st.sampled_from([(), ("a",)]),
        labels=st.sampled_from([{}, {"disk": "ssd"}, {"disk": "hdd"}]),
    ),
    min_size=1,
    max_size=4,
)
_tasks = st.builds(
    samples.pending,
    st.just(7),
    cpus=st.sampled_from([1.0, 2.0, 3.0, 8.0]),
    memory=st.sampled_from([GB, 2 * GB, 3 * GB]),
    gpus=st.sampled_from([0, 1]),
    labels=st.sampled_from([(), ("disk==ssd",), ("disk!=ssd",)]),
)


@given(_nodes, _tasks, st.data())
def test_an_unreachable_node_changes_no_verdict_of_never(
    reports: list[NodeReport], task: Pending, data: st.DataObject
) -> None:
    reports = [replace(report, name=f"n{place}") for place, report in enumerate(reports)]
    quiet = data.draw(st.sets(st.sampled_from([report.name for report in reports])))
    unseen = data.draw(st.sets(st.sampled_from(sorted(quiet)))) if quiet else set()
    whole, cluster = Cluster(), Cluster()
    whole.observe(reports)
    cluster.observe([silent(report.name) if report.name in unseen else report for report in reports])
    cluster.observe([silent(report.name) if report.name in quiet else report for report in reports])
    was = _reason(task, whole.snapshot())
    now = _reason(task, cluster.snapshot())
    if unseen:
        assert now is not PendingReason.NEVER
    else:
        assert (now is PendingReason.NEVER) is (was is PendingReason.NEVER)
    if now is PendingReason.NOT_READY:
        assert "is not ready" in NodeReasons(cluster.snapshot()).sentence(task)


def _reason(task: Pending, nodes: list[NodeState]) -> PendingReason | None:
    return node_verdicts.collect(task, nodes).reason
