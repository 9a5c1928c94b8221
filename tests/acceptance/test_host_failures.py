"""
What tasks on three Docker hosts live through: engines that are restarted, hosts that are cut off for a while or for too long,
disks that are lost. One system for all of it; GODOCKER_LONG_TESTS tries each again and again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.acceptance.client import Client
from tests.acceptance.conftest import GID, UID, SeveralHosts, folder
from tests.cluster.cluster import Cluster
from tests.cluster.host import LIVE_RESTORE, Host
from tests.conftest import FIGURES
from tests.support import history, waiting
from tests.support.system import System

pytestmark = [pytest.mark.long, pytest.mark.docker, pytest.mark.timeout(900)]

ROUNDS = range(5 if os.environ.get("GODOCKER_LONG_TESTS") else 1)
PATIENCE = 60.0

SETTINGS = {
    "GODOCKER_PLACEMENT": "spread",
    "GODOCKER_DOCKER_TIMEOUT": "3",
    "GODOCKER_RECONCILE_SECONDS": "0.5",
    "GODOCKER_NODE_GRACE": "2",
    "GODOCKER_NODE_LOST_AFTER": "15",
    "GODOCKER_FAILURE_POLICY": json.dumps({"strategy": 3, "delay": 0.5}),
}


@dataclass
class Hosts:
    """The system, and what was sent to it so far."""

    ground: SeveralHosts
    system: System
    client: Client
    exit_codes: dict[str, int | None] = field(default_factory=dict)
    acknowledged: list[int] = field(default_factory=list)
    record: Callable[[str, object], None] = field(default=lambda name, value: None)

    @property
    def cluster(self) -> Cluster:
        return self.ground.cluster

    def submit(
        self, *, exit_code: int | None = 0, restarts: int = 2, seconds: float = 0, gate: str | None = None
    ) -> int:
        """
        A task that runs for `seconds`, in its first attempt not before `gate` is opened. `exit_code` None: its node will
        fail it.
        """
        name = f"task-{len(self.acknowledged)}"
        self.exit_codes[name] = exit_code
        script = self.ground.witness.script(seconds=seconds, exit_code=exit_code or 0, gate=gate)
        task_id = self.client.submit(self.ground.task(name, script, failure_policy=restarts))
        self.acknowledged.append(task_id)
        return task_id

    def node_of(self, task_id: int) -> str | None:
        """Where the command of the task runs by now."""
        started = [
            attempt for found, attempt, what in self.ground.witness.lines() if (found, what) == (task_id, "start")
        ]
        meta = self.client.task(task_id)["container"]["meta"] or {}
        return str(meta["Node"]["Name"]) if started and "Node" in meta else None

    def on_every_host(self, send: Callable[[], int]) -> dict[str, list[int]]:
        """Send tasks until each host has one that runs; the tasks by host."""
        sent: list[int] = []
        placed: dict[str, list[int]] = {}
        while len(placed) < len(self.cluster.hosts):
            assert len(sent) < 12, f"{len(sent)} tasks are on {sorted(placed)} only"
            sent += [send() for _ in range(3)]
            nodes = {task_id: self.runs_on(task_id) for task_id in sent}
            placed = {node: [task for task in sent if nodes[task] == node] for node in sorted(set(nodes.values()))}
        return placed

    def runs_on(self, task_id: int) -> str:
        return str(waiting.until_blocking(lambda: self.node_of(task_id), f"task {task_id} runs", timeout=PATIENCE))

    def over(self, *task_ids: int) -> list[dict[str, Any]]:
        return [self.client.wait(task_id, timeout=PATIENCE)["status"] for task_id in task_ids]

    def stopped(self, *task_ids: int) -> None:
        """Wait until the commands of these say that they ended, whoever knows of it."""

        def written() -> bool:
            ended = {task for task, _, what in self.ground.witness.lines() if what == "stop"}
            return ended >= set(task_ids)

        waiting.until_blocking(written, f"tasks {task_ids} ended", timeout=PATIENCE)

    def check(self) -> None:
        """Wait until nothing is left, and hold everything so far against the witness."""
        self.over(*self.acknowledged)
        waiting.until_blocking(lambda: self.ground.runs(self.system) == [], "no container is left", timeout=PATIENCE)
        waiting.until_blocking(self._is_settled, "all ends are settled", timeout=PATIENCE)
        figures = history.check(
            self.system.settings(), self.ground.witness, acknowledged=self.acknowledged, exit_codes=self.exit_codes
        )
        self.record(FIGURES, f"{len(ROUNDS)} rounds; so far {figures}")

    def _is_settled(self) -> bool:
        return history.unsettled(self.system.settings()) == 0


@pytest.fixture(scope="module")
def module_hosts(module_cluster: Cluster) -> Iterator[Hosts]:
    with folder() as witness:
        ground = SeveralHosts(module_cluster, witness)
        with ground.system(**SETTINGS) as system:
            key = system.add_user("alice", "--uid", str(UID), "--gid", str(GID))
            with system.client(system.token("alice", key)) as http:
                yield Hosts(ground, system, Client(http))


@pytest.fixture
def hosts(module_hosts: Hosts, cluster: Cluster, record_property: Callable[[str, object], None]) -> Hosts:
    """The three hosts, whole again after the test."""
    module_hosts.record = record_property
    return module_hosts


def at_once(*acts: Callable[[], object]) -> None:
    with ThreadPoolExecutor(len(acts)) as pool:
        for done in [pool.submit(act) for act in acts]:
            done.result()


def test_a_host_that_is_cut_off_and_comes_back_in_time_has_lost_nothing(hosts: Hosts) -> None:
    for number in ROUNDS:
        gate = f"cut-{number}"
        task = hosts.submit(exit_code=3, gate=gate)
        host = hosts.cluster[hosts.runs_on(task)]
        host.cut()
        waiting.until_blocking(
            lambda task=task: is_unknown(hosts, task), "it is not known what became of it", timeout=PATIENCE
        )
        status = hosts.client.status(task)
        assert status["primary"] == "running"
        assert f"node {host.name} has not answered since" in status["reason"]
        hosts.ground.witness.open(gate)
        hosts.stopped(task)
        host.heal()
        (status,) = hosts.over(task)
        assert (status["exitcode"], status["failure"]["count"]) == (3, 0)
    hosts.check()


def is_unknown(hosts: Hosts, task_id: int) -> bool:
    return bool(hosts.client.status(task_id)["secondary"] == "unknown")


def test_what_a_host_ran_that_is_gone_for_too_long_runs_elsewhere_and_the_old_is_stopped(hosts: Hosts) -> None:
    for number in ROUNDS:
        gate = f"gone-{number}"
        final = hosts.submit(exit_code=None, restarts=0, gate=gate)
        host = hosts.cluster[hosts.runs_on(final)]
        placed = hosts.on_every_host(lambda gate=gate: hosts.submit(exit_code=4, gate=gate))
        lost = placed.pop(host.name)
        old = {f"god-{task_id}-1" for task_id in (final, *lost)}
        host.cut()
        for status in hosts.over(*lost):
            assert (status["exitcode"], status["failure"]["nodes"]) == (4, [host.name])
            assert f"node {host.name} did not answer for" in status["failure"]["reason"][0]
        (status,) = hosts.over(final)
        assert status["exitcode"] == 137
        assert f"node {host.name} did not answer for" in status["reason"]
        assert {living.name for living in host.living()} == old
        host.heal()
        waiting.until_blocking(lambda host=host: host.living() == [], "the old runs are stopped", timeout=PATIENCE)
        hosts.ground.witness.open(gate)
        for status in hosts.over(*(task for tasks in placed.values() for task in tasks)):
            assert (status["exitcode"], status["failure"]["count"]) == (4, 0)
    hosts.check()


def test_a_host_that_lost_its_disk_fails_its_tasks_and_is_used_again(hosts: Hosts) -> None:
    for _ in ROUNDS:
        placed = hosts.on_every_host(lambda: hosts.submit(exit_code=5, gate="never"))
        at_once(*(lambda host=host: renew(host) for host in hosts.cluster.hosts))
        for name, tasks in placed.items():
            for status in hosts.over(*tasks):
                assert (status["exitcode"], status["failure"]["nodes"]) == (5, [name])
                assert f"the Docker Engine of {name} was restarted" in status["failure"]["reason"][0]
        hosts.on_every_host(hosts.submit)
    hosts.check()


def renew(host: Host) -> None:
    """Give it an empty disk, and the image before anybody can ask for it."""
    host.switch_off()
    shutil.rmtree(host.directory / "data")
    host.switch_on()
    host.cut()
    host.start()
    host.load_images()
    host.heal()


def test_an_engine_that_is_restarted_with_live_restore_is_not_noticed_by_its_tasks(hosts: Hosts) -> None:
    for host in hosts.cluster.hosts:
        host.set_options(LIVE_RESTORE)
    at_once(*(host.restart for host in hosts.cluster.hosts))
    first, second, third = hosts.cluster.hosts
    for _ in ROUNDS:
        short = hosts.on_every_host(lambda: hosts.submit(seconds=4, exit_code=6))
        long = [hosts.submit(seconds=6, exit_code=7) for _ in range(3)]
        for task_id in long:
            hosts.runs_on(task_id)
        first.stop(signal.SIGTERM)
        second.stop(signal.SIGKILL)
        third.signal(signal.SIGKILL, "containerd")
        ended = [task_id for tasks in short.values() for task_id in tasks]
        hosts.stopped(*ended)
        at_once(first.start, second.start)
        for code, tasks in ((6, ended), (7, long)):
            for status in hosts.over(*tasks):
                assert (status["exitcode"], status["failure"]["count"]) == (code, 0)
    hosts.check()


def test_an_engine_that_takes_its_tasks_with_it_fails_them_and_not_their_commands(hosts: Hosts) -> None:
    first, second, third = hosts.cluster.hosts
    for _ in ROUNDS:
        placed = hosts.on_every_host(lambda: hosts.submit(gate="never", exit_code=8))
        final = hosts.submit(gate="never", exit_code=None, restarts=0)
        name = hosts.runs_on(final)
        at_once(
            lambda: first.restart(signal.SIGTERM),
            lambda: second.restart(signal.SIGKILL),
            third.reboot,
        )
        for name, tasks in placed.items():
            for status in hosts.over(*tasks):
                assert (status["exitcode"], status["failure"]["nodes"]) == (8, [name])
                assert status["failure"]["reason"] == [f"the Docker Engine of {name} was restarted while it ran"]
        (status,) = hosts.over(final)
        assert status["exitcode"] == 137
        assert "was restarted while it ran" in status["reason"]
    hosts.check()
