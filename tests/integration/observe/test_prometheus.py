"""A real Prometheus on a running system: it finds every metric and fills the dashboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client import multiprocess

from shared.observe import metrics
from tests.support import expositions, waiting
from tests.support.harness.watched import TASK, TIMEOUT, Watched, watched_system
from tests.support.servers import prometheus

pytestmark = pytest.mark.long  # see `make test-long`

#: Labelled metrics of several workers appear once one of them counted something. These may be missing.
NOT_YET = {"godocker_pushed", "godocker_tasks_ended", "godocker_tasks_refused"}


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with watched_system("--workers", "2") as made:
        yield made


def numbers(watched: Watched) -> Path:
    """The directory in which the gateway's workers count."""
    return watched.system.data_dir / "run" / "prometheus"


def test_every_service_is_scraped(watched: Watched) -> None:
    def up() -> bool:
        samples = watched.prometheus.query("up == 1")
        return {sample["metric"]["job"] for sample in samples} == {"api", "scheduler", "watcher", "files", "prometheus"}

    waiting.until_blocking(up, "every job is up", timeout=TIMEOUT)


def test_every_metric_is_shown_by_the_services_that_declare_it(watched: Watched) -> None:
    assert watched.submit().status_code == 200
    of = {
        "api": metrics.API,
        "scheduler": metrics.SCHEDULER,
        "watcher": metrics.WATCHER,
        "files": metrics.FILES,
    }
    metrics.requests("api"), metrics.requests("files")
    own = {metric.name for metric in metrics.ANY.collect() if metric.name.startswith("godocker_")}
    of_leader = {metric.name for metric in metrics.SYSTEM.collect()}

    def missing() -> dict[str, set[str]]:
        found = {}
        for job, registry in of.items():
            declared = own | {metric.name for metric in registry.collect()}
            declared |= of_leader if job == "scheduler" else set()
            names = {name for name in watched.shown(job) if name.startswith("godocker_")}
            assert names <= declared, f"{job} shows what is not its own"
            if absent := declared - names - NOT_YET:
                found[job] = absent
        return found

    assert not missing()


def test_the_workers_of_a_gateway_add_up_whichever_is_asked(watched: Watched) -> None:
    def by_worker() -> list[float]:
        found = []
        for file in sorted(numbers(watched).glob("counter_*.db")):
            merged = {metric.name: metric for metric in multiprocess.MultiProcessCollector.merge([str(file)])}
            found += [sample.value for sample in merged["godocker_tasks_admitted"].samples]
        return found

    def both_took_some() -> bool:
        assert watched.submit().status_code == 200
        return len([count for count in by_worker() if count]) == 2

    waiting.until_blocking(both_took_some, "both workers took tasks", timeout=TIMEOUT)
    shown = {expositions.value(watched.shown("api"), "godocker_tasks_admitted_total") for _ in range(20)}
    assert shown == {sum(by_worker())}


def test_gauges_of_an_ended_worker_disappear_and_its_counters_stay(watched: Watched) -> None:
    before = watched.shown("api")
    dead = watched.system.kill("api-2")

    def again() -> expositions.Shown | None:
        with suppress(httpx.TransportError):  # the dead one's connections
            found = watched.shown("api")
            holding = {int(file.stem.rpartition("_")[2]) for file in numbers(watched).glob("gauge_live*.db")}
            workers = {watched.system.pid(name) for name in ("api", "api-2")}
            return found if holding == workers and dead not in workers else None
        return None

    after = waiting.until_blocking(again, "two workers hold memory, not three", timeout=TIMEOUT)
    assert after is not None
    admitted = "godocker_tasks_admitted_total"
    assert expositions.value(after, admitted) == expositions.value(before, admitted) > 0


def test_each_panel_of_the_dashboard_has_data(watched: Watched) -> None:
    panels = json.loads((prometheus.DEPLOY / "grafana/dashboards/godocker.json").read_text())["panels"]
    asked = {target["expr"] for panel in panels for target in panel.get("targets", ())}
    left = {expression.replace("$__rate_interval", "5m") for expression in asked}
    assert len(left) > 30

    def none_left() -> bool:
        assert watched.submit().status_code == 200
        with watched.client() as client:
            refused = client.post("/api/1.0/task", json={**TASK, "requirements": {"cpu": 1e6, "ram": 1}})
            assert refused.status_code in (400, 422), refused.text
        left.difference_update([expression for expression in left if watched.prometheus.query(expression)])
        return not left

    try:
        waiting.until_blocking(none_left, "each query has data", timeout=TIMEOUT, interval=0.5)
    except AssertionError:
        pytest.fail(f"no data for: {sorted(left)}")
