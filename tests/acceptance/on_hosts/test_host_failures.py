"""
What tasks on three Docker hosts live through: engines that are restarted, hosts that are cut off for a while or for too long,
disks that are lost. One system for all of it; GODOCKER_LONG_TESTS tries each again and again.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.on_hosts import hosts as several
from tests.acceptance.on_hosts.hosts import PATIENCE, ROUNDS, Hosts, at_once
from tests.cluster.cluster import Cluster
from tests.cluster.host import LIVE_RESTORE, Host
from tests.support import naming, waiting

pytestmark = [pytest.mark.long, pytest.mark.docker, pytest.mark.timeout(900)]

SETTINGS = {
    "GODOCKER_DOCKER_TIMEOUT": "3",
    "GODOCKER_NODE_GRACE": "2",
    "GODOCKER_NODE_LOST_AFTER": "15",
}


@pytest.fixture(scope="module")
def module_hosts(module_cluster: Cluster) -> Iterator[Hosts]:
    with several.running(module_cluster, SETTINGS) as hosts:
        yield hosts


@pytest.fixture
def hosts(module_hosts: Hosts, cluster: Cluster, record_property: Callable[[str, object], None]) -> Hosts:
    """Three hosts, repaired after the test."""
    return module_hosts.begin(record_property)


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
        with hosts.recovery():
            host.heal()
            (status,) = hosts.over(task)
        assert (status["exitcode"], status["failure"]["count"]) == (3, 0)
    hosts.end()


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
        with hosts.recovery():
            host.cut()
            hosts.over(*lost)
        for status in hosts.over(*lost):
            assert (status["exitcode"], status["failure"]["nodes"]) == (4, [host.name])
            assert f"node {host.name} did not answer for" in status["failure"]["reason"][0]
        (status,) = hosts.over(final)
        assert status["exitcode"] == 137
        assert f"node {host.name} did not answer for" in status["reason"]
        assert {naming.short(living.name) for living in host.living()} == old
        host.heal()
        waiting.until_blocking(lambda host=host: host.living() == [], "the old runs are stopped", timeout=PATIENCE)
        hosts.ground.witness.open(gate)
        for status in hosts.over(*(task for tasks in placed.values() for task in tasks)):
            assert (status["exitcode"], status["failure"]["count"]) == (4, 0)
    hosts.end()


def test_a_host_that_lost_its_disk_fails_its_tasks_and_is_used_again(hosts: Hosts) -> None:
    for _ in ROUNDS:
        placed = hosts.on_every_host(lambda: hosts.submit(exit_code=5, gate="never"))
        at_once(*(lambda host=host: renew(host) for host in hosts.cluster.hosts))
        with hosts.recovery():
            hosts.over(*(task for tasks in placed.values() for task in tasks))
        for name, tasks in placed.items():
            for status in hosts.over(*tasks):
                assert (status["exitcode"], status["failure"]["nodes"]) == (5, [name])
                assert f"the Docker Engine of {name} was restarted" in status["failure"]["reason"][0]
        hosts.on_every_host(hosts.submit)
    hosts.end()


def renew(host: Host) -> None:
    """Give the host an empty disk, and the image before a task needs it."""
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
        with hosts.recovery():
            hosts.over(*ended)
        for code, tasks in ((6, ended), (7, long)):
            for status in hosts.over(*tasks):
                assert (status["exitcode"], status["failure"]["count"]) == (code, 0)
    hosts.end()


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
        with hosts.recovery():
            hosts.over(*(task for tasks in placed.values() for task in tasks))
        for name, tasks in placed.items():
            for status in hosts.over(*tasks):
                assert (status["exitcode"], status["failure"]["nodes"]) == (8, [name])
                assert status["failure"]["reason"] == [f"the Docker Engine of {name} was restarted while it ran"]
        (status,) = hosts.over(final)
        assert status["exitcode"] == 137
        assert "was restarted while it ran" in status["reason"]
    hosts.end()
