"""docs/metrics.md lists every metric, and the values of its labels are those that the code writes."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prometheus_client.metrics import MetricWrapperBase

from godocker import metrics_page
from shared.observe import metrics
from tests.unit.architecture import sources

ENTRIES = {entry.family: entry for _, registry in metrics_page.SECTIONS for entry in metrics_page.entries(registry)}


def literals() -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield the metric, the names of its labels and their values for each `metrics.NAME.labels(…)` of literals alone."""
    for module in sources.modules("godocker", "services", "shared"):
        for node in ast.walk(module.tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "labels"):
                continue
            owner = ast.unparse(node.func.value).removeprefix("metrics.")
            metric = getattr(metrics, owner, None)
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            if isinstance(metric, MetricWrapperBase):
                (family,) = metric.describe()
                names = [keyword.arg or "" for keyword in node.keywords] or [*metric._labelnames]
                yield family.name, names, [one.value if isinstance(one, ast.Constant) else "" for one in values]


def test_the_page_of_metrics_is_as_the_registries_make_it() -> None:
    assert metrics_page.PAGE.read_text() == metrics_page.page(), "run: make docs"


def test_every_metric_is_listed_once_and_every_label_has_its_values() -> None:
    declared = [one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)]
    assert len(declared) > 40
    assert {family.name for one in declared for family in one.describe()} <= {*ENTRIES}
    for entry in ENTRIES.values():
        for label in entry.labels:
            assert entry.values(label), f"{entry.name} {label}: name its values in godocker/metrics_page.py"


def test_a_value_that_the_code_writes_is_in_the_set_of_its_label() -> None:
    found = [*literals()]
    assert len(found) > 20
    for family, names, values in found:
        for name, value in zip(names, values, strict=True):
            closed = metrics_page.CLOSED.get(family, {}).get(name)
            assert not value or closed is None or value in {*closed}, f"{family} {name}={value}"


def test_each_closed_set_is_that_of_a_label() -> None:
    assert {(family, label) for family, sets in metrics_page.CLOSED.items() for label in sets} <= {
        (entry.family, label) for entry in ENTRIES.values() for label in entry.labels
    }
