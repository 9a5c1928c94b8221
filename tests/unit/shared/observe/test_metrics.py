"""Rules for all declared metrics, and for everything that queries them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from prometheus_client.core import Metric

from services.api.admission import lookup
from services.watcher.reconcile.missed_events import MissedEvents
from shared import errors
from shared.executors.types import Handle
from shared.observe import exposition, metrics

DEPLOY = Path(__file__).parents[4] / "deploy"
REGISTRIES = {name: getattr(metrics, name) for name in ("ANY", "API", "SCHEDULER", "SYSTEM", "WATCHER", "FILES")}
#: Labels with closed sets of values, or values from the configuration. Values from requests would create series without
#: end.
LABELS = {
    *("action", "change", "code", "direction", "effect", "ending", "kind", "operation", "outcome", "reason", "status"),
    *("handler", "method"),  # routes; "none" for requests without one
    *("store", "node"),
    "version",  # of the service
    *("collection", "loop", "where"),
    *("name", "host"),  # pushed values: see services/api/pushed_metrics.py for their number
}


def declared() -> Iterator[tuple[str, Metric]]:
    metrics.requests("api"), metrics.requests("files")
    for name, registry in REGISTRIES.items():
        for metric in registry.collect():
            if metric.name.startswith("godocker_"):
                yield name, metric


def labels_of(registry: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Return the declared labels, with or without values yet."""
    for collector in set(REGISTRIES[registry]._collector_to_names):
        name = getattr(collector, "_name", "")
        if name.startswith("godocker_"):
            yield name, tuple(collector._labelnames)  # type: ignore[attr-defined]


def used(text: str) -> set[str]:
    return {re.sub(r"_(bucket|total|sum|count)$", "", name) for name in re.findall(r"\bgodocker_[a-z_]+", text)}


def test_metrics_have_no_labels_but_those_of_closed_sets() -> None:
    metrics.requests("api"), metrics.requests("files")
    found = [pair for registry in REGISTRIES for pair in labels_of(registry)]
    assert len(found) > 40
    assert {name: labels for name, labels in found if not set(labels) <= LABELS} == {}


def test_metrics_are_named_and_described_as_prometheus_advises() -> None:
    for _, metric in declared():
        assert re.fullmatch(r"godocker_[a-z][a-z_]*[a-z]", metric.name)
        assert metric.documentation
        if metric.type == "histogram":
            assert metric.name.endswith("_seconds"), metric.name


def test_no_metric_is_shown_twice_by_one_service() -> None:
    names = [(registry, metric.name) for registry, metric in declared()]
    assert len({name for _, name in names}) == len(names)


def test_metrics_of_the_whole_system_name_their_exporter() -> None:
    for registry, metric in declared():
        assert (registry == "SYSTEM") == ("exported by the leader only" in metric.documentation), metric.name


def test_metrics_of_the_whole_system_are_exported_by_the_leader_alone() -> None:
    metrics.OUTBOX.set(3)
    assert b"godocker_outbox_mails 3.0" in exposition.text("scheduler", leads=True)
    for service in ("api", "scheduler", "watcher", "files"):
        assert b"godocker_outbox_mails" not in exposition.text(service)


@pytest.mark.parametrize("file", ["alerts.yml", "grafana/dashboards/godocker.json"])
def test_deployed_rules_and_dashboards_query_existing_metrics(file: str) -> None:
    asked = used((DEPLOY / file).read_text())
    assert len(asked) > 15
    assert asked - {metric.name for _, metric in declared()} == set()


def test_each_panel_of_the_dashboard_has_a_query() -> None:
    panels = json.loads((DEPLOY / "grafana/dashboards/godocker.json").read_text())["panels"]
    assert all(panel["targets"] for panel in panels if panel["type"] != "row")
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_an_end_is_missed_if_no_event_reports_it_between_two_lists() -> None:
    missed, told, late, never = MissedEvents(), *(Handle("n1", number, 1) for number in (1, 2, 3))
    missed.note_event(told)
    assert missed.note_list([told, late, never]) == 0
    missed.note_event(late)
    assert missed.note_list([]) == 1
    assert missed.note_list([]) == 0


def test_the_version_of_a_service_is_shown_by_each() -> None:
    for service in ("api", "scheduler", "watcher", "files"):
        assert (
            f'godocker_build_info{{version="{metadata.version("godocker")}"}} 1.0' in exposition.text(service).decode()
        )


def test_an_error_is_spelt_in_labels_as_in_answers() -> None:
    assert errors.word_of(errors.ImageNotFound()) == "image_not_found"
    with pytest.raises(errors.InMaintenance), lookup.count_refusals():
        raise errors.InMaintenance()
    assert b'godocker_tasks_refused_total{code="in_maintenance"}' in exposition.text("api")
