"""
Watchers that die at the end of tasks on three Docker hosts: between having seen it and having written it, at each step after
that, and blindly. The other one finishes. GODOCKER_LONG_TESTS tries every moment, else the first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymongo
import pytest

from godocker.local.data_directory import DataDirectory
from tests.acceptance.lifecycle.test_interruption import free_port
from tests.acceptance.on_hosts import hosts as several
from tests.acceptance.on_hosts.hosts import PATIENCE, ROUNDS, Hosts
from tests.cluster.cluster import Cluster
from tests.support import waiting
from tests.support.harness.system import System
from tests.support.harness.watcher_deaths import Moment

pytestmark = [pytest.mark.long, pytest.mark.docker, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[3]
BLIND = 6  #: tasks that end while watchers are killed blindly


@pytest.fixture
def hosts(cluster: Cluster, record_property: Callable[[str, object], None]) -> Iterator[Hosts]:
    with several.running(cluster) as made:
        yield made.begin(record_property)


def test_a_watcher_that_dies_between_seeing_and_writing_an_end_leaves_it_to_the_other(hosts: Hosts) -> None:
    moments = [moment for _, moment in zip(ROUNDS, Moment, strict=False)]
    assert len(moments) == len(ROUNDS)
    for number, moment in enumerate(moments):
        gate = f"end-{number}"
        placed = hosts.on_every_host(lambda gate=gate: hosts.submit(exit_code=9, gate=gate))
        tasks = [task_id for on_host in placed.values() for task_id in on_host]
        with doomed_watcher(hosts.system, moment) as doomed:
            give_nodes_to(hosts, doomed)
            hosts.ground.witness.open(gate)
            assert doomed.wait(PATIENCE) == -signal.SIGKILL, f"{moment}: it lives on"
            with hosts.recovery():
                ends = hosts.over(*tasks)
        assert {(status["exitcode"], status["failure"]["count"]) for status in ends} == {(9, 0)}
        hosts.check()
        kill_blindly(hosts)
        hosts.check()
    hosts.end()


def kill_blindly(hosts: Hosts) -> None:
    """Kill the watcher with SIGKILL each time that a command has ended."""
    tasks = [hosts.submit(exit_code=10, seconds=number) for number in range(BLIND)]
    for number in range(1, BLIND, 2):
        hosts.stopped(*tasks[:number])
        before = hosts.system.kill("watcher")
        waiting.until_blocking(
            lambda before=before: hosts.system.pid("watcher") != before, "it is started again", timeout=PATIENCE
        )
    assert {status["exitcode"] for status in hosts.over(*tasks)} == {10}


@contextmanager
def doomed_watcher(system: System, moment: Moment) -> Iterator[subprocess.Popen[bytes]]:
    """A second watcher of the system, to be killed."""
    environment = {
        **os.environ,
        **DataDirectory(system.data_dir).environment(),
        "GODOCKER_WATCHER_PORT": str(free_port()),
    }
    argv = [sys.executable, "-P", "-m", "tests.support.harness.watcher_deaths", moment]
    with (system.data_dir / "doomed.log").open("ab") as log:
        process = subprocess.Popen(
            argv, env={**environment, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)


def give_nodes_to(hosts: Hosts, watcher: subprocess.Popen[bytes]) -> None:
    """Pause the system's own watcher until the other holds all nodes; then it stands by."""
    names = {f"node:{host.name}" for host in hosts.cluster.hosts}
    let_go = hosts.system.log("watcher").count("node.released")
    settings = hosts.system.settings()
    with pymongo.MongoClient[dict[str, Any]](settings.mongo_url) as client:
        leases = client[settings.mongo_db]["leases"]

        def has_all() -> bool:
            assert watcher.poll() is None, "it died before its time"
            held = leases.find({"_id": {"$in": sorted(names)}})
            return {lease["_id"] for lease in held if lease["holder"].split(":")[1] == str(watcher.pid)} == names

        with hosts.system.hanging("watcher"):
            waiting.until_blocking(has_all, "the other watcher holds all nodes", timeout=PATIENCE)
    waiting.until_blocking(
        lambda: hosts.system.log("watcher").count("node.released") >= let_go + len(names),
        "the first watcher has let go",
        timeout=PATIENCE,
    )
