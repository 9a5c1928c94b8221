"""
Alerts about nodes: each fires in a real Prometheus once its situation exists, with two real Docker hosts.

The rules are the deployed ones, accelerated, see `prometheus.hurried`. The others are in `test_alert_situations.py`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from godocker.docker.local_engine import EngineUnavailable
from tests.acceptance.use.client import Client
from tests.cluster import running
from tests.cluster.commands import ClusterError
from tests.cluster.host import Host, Size
from tests.support import expositions, freezer, naming, waiting
from tests.support.harness import watched
from tests.support.harness.cluster import check_requirements
from tests.support.harness.watched import TIMEOUT, Watched
from tests.support.servers import proxy
from tests.support.servers.engine import cannot_have
from tests.support.servers.proxy import Proxy

pytestmark = [pytest.mark.long, pytest.mark.docker, pytest.mark.timeout(300)]

SIZES = (Size(4, 4), Size(4, 4))
ENDS = 12  #: more than the alert tolerates
SETTINGS = {
    "GODOCKER_DOCKER_TIMEOUT": "1.5",
    "GODOCKER_NODE_GRACE": "2",
    "GODOCKER_KILL_GRACE": "1",
}


@dataclass(frozen=True)
class Hosts:
    """Two hosts: `far` is reached by the network, and `near`, where all tasks go, through `between`."""

    far: Host
    near: Host
    between: Proxy
    watched: Watched
    client: Client

    def submit(self, cmd: str) -> int:
        task = {
            "meta": {"name": "near"},
            "requirements": {"cpu": 0.1, "ram": 0.1, "label": ["host==near"]},
            "container": {"image": "busybox:latest", "network": False},
            "command": {"interactive": False, "cmd": cmd},
        }
        return self.client.submit(task)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Disconnect the far host."""
        self.far.cut()
        try:
            yield
        finally:
            self.far.heal()

    @contextmanager
    def hushed(self, pattern: str) -> Iterator[None]:
        """Drop the near engine's answers to these requests."""
        self.between.hush(pattern)
        try:
            yield
        finally:
            self.between.hush(None)


@pytest.fixture(scope="module")
def module_hosts() -> Iterator[Hosts]:
    check_requirements()
    try:
        with running.cluster("alerts", SIZES) as cluster, tempfile.TemporaryDirectory() as place:
            far, near = cluster.hosts
            with proxy.between_in_thread(Path(place), near.engine.socket) as between:
                nodes = [far.node, {**near.node, "url": between.url, "labels": {"host": "near"}}]
                environment = {**SETTINGS, "GODOCKER_NODES": json.dumps(nodes)}
                with watched.watched_system(environment=environment, executor="docker") as made, made.client() as http:
                    yield Hosts(far, near, between, made, Client(http))
    except (EngineUnavailable, ClusterError) as error:
        cannot_have("docker", str(error))


@pytest.fixture
def hosts(module_hosts: Hosts, record_property: Callable[[str, object], None]) -> Hosts:
    """The two hosts, restored to health."""
    module_hosts.watched.until_quiet()
    module_hosts.watched.record = record_property
    return module_hosts


def test_a_host_that_is_cut_off(hosts: Hosts) -> None:
    with hosts.cut():
        hosts.watched.until_fires("GodockerNodeSilent", "GodockerNodeNotReady")
    hosts.watched.until_rests("GodockerNodeSilent", "GodockerNodeNotReady")


def test_a_host_whose_clock_is_wrong(hosts: Hosts) -> None:
    hosts.between.ahead = -90
    try:
        hosts.watched.until_fires("GodockerNodeClock")
        task_id = hosts.submit("true")
        hosts.client.wait(task_id, timeout=TIMEOUT)
    finally:
        hosts.between.ahead = 0
    hosts.watched.until_rests("GodockerNodeClock")


@pytest.mark.skipif(not freezer.is_there(), reason="no freezer of cgroup v1 here, and nothing else resists SIGKILL")
def test_a_container_that_cannot_be_killed(hosts: Hosts) -> None:
    task_id = hosts.submit("sleep 600")
    hosts.client.wait(task_id, "running", timeout=TIMEOUT)
    (run,) = [living for living in hosts.near.living() if naming.short(living.name) == f"god-{task_id}-1"]
    with freezer.frozen(run.pids):
        hosts.client.kill(task_id)
        hosts.watched.until_fires("GodockerTasksUnkillable")
    hosts.watched.until_rests("GodockerTasksUnkillable")


def test_an_engine_without_end_events(hosts: Hosts) -> None:
    with hosts.hushed("/events"):
        tasks = [hosts.submit("true") for _ in range(ENDS)]
        hosts.watched.until_fires("GodockerEventsMissed")
    for task_id in tasks:
        hosts.client.wait(task_id, timeout=TIMEOUT)


def test_an_engine_that_does_not_answer_about_an_unlisted_container(hosts: Hosts) -> None:
    task_id = hosts.submit("sleep 600")
    hosts.client.wait(task_id, "running", timeout=TIMEOUT)
    with hosts.hushed("/containers/[^/]+/json"):
        with hosts.near.engine.client() as engine:
            engine.delete(
                f"/containers/{hosts.watched.system.run_name(task_id)}", params={"force": "1"}
            ).raise_for_status()
        hosts.watched.until_fires("GodockerReconcileFails")
    hosts.client.wait(task_id, timeout=TIMEOUT)
    hosts.watched.until_rests("GodockerReconcileFails")


def test_a_database_that_hangs_again_and_again(hosts: Hosts) -> None:
    def held() -> float:
        return expositions.value(hosts.watched.shown("watcher"), "godocker_watcher_nodes")

    def lose_and_take_leases() -> None:
        with hosts.watched.system.hanging("mongod"):
            waiting.until_blocking(lambda: held() == 0, "the leases are lost", timeout=TIMEOUT)
        waiting.until_blocking(lambda: held() == 2, "the leases are taken", timeout=TIMEOUT)

    hosts.watched.until_fires("GodockerLeasesFlap", meanwhile=lose_and_take_leases)
