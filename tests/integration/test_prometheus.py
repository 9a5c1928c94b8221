"""A real Prometheus watches a running system: it finds every metric, fills the dashboard, and tells of what goes wrong."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client import multiprocess

from shared import metrics
from tests.support import expositions, prometheus, waiting
from tests.support.prometheus import Prometheus
from tests.support.system import System, running_system

pytestmark = pytest.mark.long  # see `make test-long`

TIMEOUT = 90.0
TASK = {
    "meta": {"name": "watched"},
    "requirements": {"cpu": 1, "ram": 1},
    "container": {"image": "busybox"},
    "command": {"cmd": "true"},
}
#: Where workers add up their numbers, a metric with labels is shown once one of them counted something. These may not have.
NOT_YET = {"godocker_pushed", "godocker_tasks_ended", "godocker_tasks_refused"}
#: Impatient as the rules are.
QUICK = {
    "GODOCKER_MONGO_TIMEOUT": "1",
    "GODOCKER_REDIS_TIMEOUT": "0.3",
    "GODOCKER_POLL_SECONDS": "0.5",
    "GODOCKER_RECONCILE_SECONDS": "0.5",
    "GODOCKER_LEASE_SECONDS": "2",
}


@dataclass(frozen=True)
class Watched:
    system: System
    prometheus: Prometheus
    token: str

    @property
    def numbers(self) -> Path:
        """Where the workers of the gateway keep what they count."""
        return self.system.data_dir / "run" / "prometheus"

    def client(self) -> httpx.Client:
        return self.system.client(self.token)

    def submit(self) -> httpx.Response:
        """From a connection of its own: whichever worker takes it."""
        with self.client() as client:
            return client.post("/api/1.0/task", json=TASK)

    def shown(self, job: str) -> expositions.Shown:
        return expositions.shown(expositions.addresses(self.system)[job])

    def until_fires(self, *alerts: str) -> None:
        wanted = set(alerts)
        waiting.until_blocking(
            lambda: wanted <= self.prometheus.firing(), f"{sorted(wanted)} fire", timeout=TIMEOUT, interval=0.3
        )

    def until_quiet(self) -> None:
        waiting.until_blocking(lambda: not self.prometheus.firing(), "no alert fires", timeout=TIMEOUT, interval=0.3)

    @contextmanager
    def frozen(self, service: str) -> Iterator[None]:
        pid = self.system.kill(service, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    prometheus.program("prometheus")
    with running_system("--workers", "2", environment=QUICK) as system:
        targets = {job: [address] for job, address in expositions.addresses(system).items()}
        with prometheus.running(targets) as server:
            yield Watched(system, server, system.token())


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
        for file in sorted(watched.numbers.glob("counter_*.db")):
            merged = {metric.name: metric for metric in multiprocess.MultiProcessCollector.merge([str(file)])}
            found += [sample.value for sample in merged["godocker_tasks_admitted"].samples]
        return found

    def both_took_some() -> bool:
        assert watched.submit().status_code == 200
        return len([count for count in by_worker() if count]) == 2

    waiting.until_blocking(both_took_some, "both workers took tasks", timeout=TIMEOUT)
    shown = {expositions.value(watched.shown("api"), "godocker_tasks_admitted_total") for _ in range(20)}
    assert shown == {sum(by_worker())}


def test_what_a_worker_held_is_gone_with_it_and_what_it_counted_stays(watched: Watched) -> None:
    before = watched.shown("api")
    dead = watched.system.kill("api-2")

    def again() -> expositions.Shown | None:
        with suppress(httpx.TransportError):  # the dead one's connections
            found = watched.shown("api")
            holding = {int(file.stem.rpartition("_")[2]) for file in watched.numbers.glob("gauge_live*.db")}
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


def test_nothing_fires_while_all_is_well(watched: Watched) -> None:
    watched.until_quiet()


def test_a_redis_that_hangs_is_told_of(watched: Watched) -> None:
    with watched.frozen("redis"):
        watched.until_fires("GodockerRedisDown")
    watched.until_quiet()


def test_a_scheduler_that_hangs_is_told_of_and_later_that_its_loop_was_late(watched: Watched) -> None:
    with watched.frozen("scheduler"):
        watched.until_fires("GodockerTargetDown", "GodockerNoLeader")
    watched.until_fires("GodockerLoopLag")
    watched.until_quiet()


def test_a_mongodb_that_hangs_is_told_of_from_every_side(watched: Watched) -> None:
    with watched.frozen("mongod"):

        def told() -> bool:
            with suppress(httpx.TransportError):
                assert watched.submit().status_code == 503
            return {"GodockerStoreFails", "GodockerUnavailable", "GodockerNoLeader"} <= watched.prometheus.firing()

        waiting.until_blocking(told, "store, gateway and scheduler are told of", timeout=TIMEOUT)
    watched.until_quiet()
