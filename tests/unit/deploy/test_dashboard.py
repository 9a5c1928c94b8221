"""The dashboard is one that Grafana takes: it and its source are found, and each panel says what it shows."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.observe import metrics

DEPLOY = Path(__file__).parents[3] / "deploy"
PROVISIONING = DEPLOY / "grafana/provisioning"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/godocker.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
WIDTH = 24  #: columns of Grafana's grid
UNITS = {"short", "percentunit", "reqps", "ops", "s", "bytes", "Bps"}  #: of Grafana's names, those that are used
OTHERS = {"up", "ALERTS"}  #: series that Prometheus makes itself

_NAME = re.compile(r"\b(?:godocker_\w+|up|ALERTS)\b")
_LEGEND = re.compile(r"\{\{(\w+)\}\}")
_BY = re.compile(r"by \(([^)]*)\)")
_SUFFIX = re.compile(r"_(?:total|bucket|sum|count)$")


def provisioned(kind: str) -> list[dict[str, Any]]:
    found = []
    for file in sorted((PROVISIONING / kind).glob("*.yml")):
        content = yaml.safe_load(file.read_text())
        assert content["apiVersion"] == 1
        found += content["providers" if kind == "dashboards" else "datasources"]
    return found


def mounted() -> dict[str, str]:
    """Where Grafana's container has which of our directories."""
    grafana = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["services"]["grafana"]
    return {there: here for here, there, *_ in (volume.split(":") for volume in grafana["volumes"])}


def declared() -> set[str]:
    """The names of all metrics, without the suffixes that samples have."""
    metrics.requests("api"), metrics.requests("files")
    registries = (metrics.ANY, metrics.API, metrics.SCHEDULER, metrics.SYSTEM, metrics.WATCHER, metrics.FILES)
    return {metric.name for registry in registries for metric in registry.collect()}


def test_grafana_is_told_where_the_dashboard_is() -> None:
    (provider,) = provisioned("dashboards")
    assert provider["type"] == "file"
    assert mounted()["/etc/grafana/provisioning"] == "./grafana/provisioning"
    assert mounted()[provider["options"]["path"]] == "./grafana/dashboards"


def test_each_query_asks_the_source_that_is_provisioned() -> None:
    (source,) = provisioned("datasources")
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    reference = {"type": "prometheus", "uid": source["uid"]}
    for panel in PANELS:
        assert panel["datasource"] == reference, panel["title"]
        assert all(target["datasource"] == reference for target in panel["targets"]), panel["title"]


def test_it_answers_the_three_questions_first() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows[:3] == ["Is it healthy?", "Who waits, and why?", "How full are the nodes?"]


def test_panels_have_numbers_of_their_own_and_lie_beside_each_other() -> None:
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    taken = [set(cells(panel["gridPos"])) for panel in DASHBOARD["panels"]]
    assert not [pair for pair in itertools.combinations(taken, 2) if pair[0] & pair[1]]
    assert all(column < WIDTH for cells in taken for column, _ in cells)


def cells(place: dict[str, int]) -> list[tuple[int, int]]:
    columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
    return [(column, row) for column in columns for row in rows]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_a_panel_says_what_it_shows_and_in_what(panel: dict[str, Any]) -> None:
    assert panel["type"] in ("stat", "timeseries", "bargauge")
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    references = [target["refId"] for target in panel["targets"]]
    assert len(references) == len(set(references))
    for target in panel["targets"]:
        asked = set(_NAME.findall(target["expr"]))
        assert asked
        assert {_SUFFIX.sub("", name) for name in asked - OTHERS} <= declared()
        kept = {name.strip() for names in _BY.findall(target["expr"]) for name in names.split(",")}
        assert target["legendFormat"]
        assert set(_LEGEND.findall(target["legendFormat"])) <= kept
