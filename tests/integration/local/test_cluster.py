"""Tests of the cluster of Docker hosts: faults affect one host only, and nothing remains."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.cluster import running
from tests.cluster.cluster import SMALL, Cluster
from tests.cluster.host import IMAGE, LIVE_RESTORE, Host, Size
from tests.cluster.sampling import Sampler
from tests.support import waiting

pytestmark = [pytest.mark.long, pytest.mark.docker]

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0


def run(host: Host, name: str, *command: str, network: str = "none") -> str:
    """Start a container through the host's engine and return its id."""
    body = {"Image": IMAGE, "Cmd": command, "HostConfig": {"NetworkMode": network, "Init": True}}
    with host.engine.client() as client:
        made = client.post("/containers/create", params={"name": name}, json=body)
        assert made.status_code == 201, made.text
        container = str(made.json()["Id"])
        assert client.post(f"/containers/{container}/start").status_code == 204
    return container


def output(host: Host, name: str, *command: str, network: str = "bridge") -> str:
    container = run(host, name, *command, network=network)
    with host.engine.client() as client:
        client.post(f"/containers/{container}/wait").raise_for_status()
        logs = client.get(f"/containers/{container}/logs", params={"stdout": "1", "stderr": "1"}).content
    # Each piece of output has a header of eight bytes; what is looked for is in the text behind it.
    return logs.decode(errors="replace")


def answers(host: Host) -> bool:
    """Request the engine through the network, as GoDocker does."""
    try:
        return httpx.get(f"http://{host.address}:2375/_ping", timeout=1.0, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def names(host: Host) -> list[str]:
    return [living.name for living in host.living()]


def state(host: Host, container: str) -> dict[str, object]:
    with host.engine.client() as client:
        return dict(client.get(f"/containers/{container}/json").raise_for_status().json()["State"])


def test_three_hosts_have_names_addresses_and_the_image(cluster: Cluster) -> None:
    assert [host.size for host in cluster.hosts] == list(SMALL)
    assert len({host.address for host in cluster.hosts}) == 3
    for host in cluster.hosts:
        assert answers(host)
        assert host.images() == [IMAGE]
        with host.engine.client() as client:
            assert client.get("/info").json()["Name"] == host.name


def test_containers_are_on_their_own_host_with_or_without_its_network(cluster: Cluster) -> None:
    first, second, third = cluster.hosts
    assert "eth0" in output(first, "with", "ls", "/sys/class/net")
    assert "eth0" not in output(first, "without", "ls", "/sys/class/net", network="none")
    assert "1 packets received" in output(first, "near", "ping", "-c", "1", second.address)
    assert f"inet {third.address}/24" in output(third, "outside", "ip", "address", network="host")
    assert third.name in output(third, "named", "hostname", network="host")


def test_a_cut_host_does_not_answer_and_its_containers_go_on(cluster: Cluster) -> None:
    host, *others = cluster.hosts
    run(host, "steady", "sleep", "1000")
    host.cut()
    assert not answers(host)
    assert all(answers(other) for other in others)
    assert host.engine.answers(), "it is heard past the network"
    assert names(host) == ["steady"]
    host.heal()
    waiting.until_blocking(lambda: answers(host), "it is reached again", timeout=PATIENCE)


def test_a_mute_host_does_what_it_is_asked_and_is_not_heard(cluster: Cluster) -> None:
    host = cluster.hosts[0]
    host.mute()
    assert not answers(host)
    host.heal()
    waiting.until_blocking(lambda: answers(host), "it is heard again", timeout=PATIENCE)


def test_a_frozen_engine_hangs_until_it_is_thawed(cluster: Cluster) -> None:
    host = cluster.hosts[0]
    host.freeze()
    assert host.is_running()
    assert not answers(host)
    host.thaw()
    waiting.until_blocking(lambda: answers(host), "it answers again", timeout=PATIENCE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_containers_end_with_their_engine(cluster: Cluster, number: signal.Signals) -> None:
    host = cluster.hosts[1]
    container = run(host, "mortal", "sleep", "1000")
    host.stop(number)
    assert not host.is_running()
    assert not answers(host)
    host.start()
    assert answers(host)
    assert state(host, container)["Status"] == "exited"
    assert names(host) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_containers_live_on_without_their_engine_where_it_restores_them(
    cluster: Cluster, number: signal.Signals
) -> None:
    host = cluster.hosts[1]
    host.set_options(LIVE_RESTORE)
    host.restart()
    container = run(host, "survivor", "sleep", "1000")
    [before] = host.living()
    host.stop(number)
    assert [living.id for living in host.living()] == [before.id]
    host.start()
    assert [living.id for living in host.living()] == [before.id]
    assert {before.pids[0]} <= {*host.living()[0].pids}
    assert state(host, container)["Running"]


def test_a_wiped_host_is_empty_and_in_its_place(cluster: Cluster) -> None:
    host = cluster.hosts[2]
    container = run(host, "forgotten", "sleep", "1000")
    host.wipe()
    assert answers(host)
    assert host.images() == []
    assert host.living() == []
    with host.engine.client() as client:
        assert client.get(f"/containers/{container}/json").status_code == 404


def test_a_rebooted_host_keeps_what_is_on_its_disk(cluster: Cluster) -> None:
    host = cluster.hosts[2]
    container = run(host, "interrupted", "sleep", "1000")
    host.reboot()
    assert answers(host)
    assert host.images() == [IMAGE]
    assert state(host, container)["Status"] == "exited"


def test_a_container_can_be_frozen_without_its_engine_knowing(cluster: Cluster) -> None:
    host = cluster.hosts[0]
    container = run(host, "stuck", "sleep", "1000")
    host.cgroup_of(container).freeze()
    assert state(host, container)["Status"] == "running"
    [living] = host.living()
    # The one that was started first is the init of the container.
    assert any(psutil.Process(pid).name() == "sleep" for pid in living.pids)


def test_a_task_that_runs_twice_at_once_is_seen_although_an_engine_is_dead(cluster: Cluster) -> None:
    first, second, _ = cluster.hosts
    first.set_options(LIVE_RESTORE)
    first.restart()
    with Sampler(cluster.hosts) as sampler:
        run(first, "god-7-1", "sleep", "1000")
        run(second, "god-8-1", "sleep", "1000")
        waiting.until_blocking(
            lambda: (
                [sampler.hosts[host.name].containers for host in cluster.hosts] == [{"god-7-1"}, {"god-8-1"}, set()]
            ),
            "both are seen",
            timeout=PATIENCE,
        )
        first.kill()
        assert sampler.wrong == []
        run(second, "god-7-2", "sleep", "1000")
        waiting.until_blocking(lambda: sampler.wrong, "it is seen", timeout=PATIENCE)
    assert set(sampler.wrong) == {"task 7 ran twice at once: ['god-7-1 on node1', 'god-7-2 on node2']"}


def test_nothing_is_left_of_a_cluster_in_the_worst_state(cluster: Cluster) -> None:
    with running.cluster("second", [Size(1, 1), Size(1, 1)]) as second:
        assert second.number != cluster.number, "they stand side by side"
        first, other = second.hosts
        run(first, "frozen", "sleep", "1000")
        first.cgroup.freeze()
        first.freeze()
        run(other, "orphan", "sleep", "1000", network="bridge")
        other.kill()
        other.cut()
        assert running.traces(second.number)
        assert processes_of(second)
    assert_gone(second)
    assert all(answers(host) for host in cluster.hosts), "the first one is still there"


OWNER = """
import sys, time
from tests.cluster import running
with running.cluster("killed", [running.Size(1, 1)]) as made:
    print(made.number, flush=True)
    time.sleep(1000)
"""


def test_what_a_killed_process_left_is_swept_by_the_next(cluster: Cluster) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout is not None
            number = int(owner.stdout.readline())
            left = running.find("killed")
            assert left is not None
            assert left.number == number
            [host] = left.hosts
            run(host, "orphan", "sleep", "1000")
        finally:
            owner.kill()
    waiting.until_blocking(lambda: not processes_of(left), "its processes end with it", timeout=PATIENCE)
    assert running.find("killed") is None
    assert number in running.sweep()
    assert_gone(left)
    assert cluster.number not in running.sweep(), "what is in use stays"


def processes_of(cluster: Cluster) -> list[str]:
    """Return all processes that name the directory or live in its control groups."""
    names = []
    for process in running.processes(cluster.number):
        with contextlib.suppress(psutil.NoSuchProcess):
            names.append(process.name())
    return names + [living.name for host in cluster.hosts for living in host.living()]


def assert_gone(cluster: Cluster) -> None:
    assert running.traces(cluster.number) == []
    assert processes_of(cluster) == []
    mounts = Path("/proc/mounts").read_text()
    assert str(cluster.directory) not in mounts
    assert cluster.network.is_free()
