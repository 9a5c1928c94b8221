"""Tests of adding, draining and removing a Docker host with certificates, without a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from godocker.admin import nodes
from godocker.docker import local_engine
from shared.system.inventory import Row, State
from tests.acceptance.conftest import SeveralHosts, folder
from tests.acceptance.use.client import Client
from tests.cluster import running
from tests.cluster.cluster import SMALL, Cluster
from tests.cluster.commands import ClusterError
from tests.cluster.host import Host
from tests.support import waiting
from tests.support.harness.cluster import check_requirements
from tests.support.harness.system import System
from tests.support.servers import certificates
from tests.support.servers.engine import cannot_have

pytestmark = [pytest.mark.long, pytest.mark.docker]

PATIENCE = 120.0
HERE = "hostname > host; until [ -e gate ]; do sleep 0.2; done"


@pytest.fixture
def two_hosts() -> Iterator[Cluster]:
    """Two hosts; the second does not belong to the system yet."""
    check_requirements()
    try:
        with running.cluster("nodes", SMALL[:2]) as made:
            yield made
    except (local_engine.EngineUnavailable, ClusterError) as error:
        cannot_have("docker", str(error))


@pytest.fixture
def keys(two_hosts: Cluster, tmp_path: Path) -> Path:
    """Certificates of the second host, and certificates of another authority."""
    host = two_hosts["node2"]
    for name in ("good", "foreign"):
        (tmp_path / name).mkdir()
        certificates.make(tmp_path / name, address=str(host.address))
    ours = tmp_path / "good"
    host.stop()
    server = ("--tlscert", str(ours / "server" / "cert.pem"), "--tlskey", str(ours / "server" / "key.pem"))
    host.set_options("--tlsverify", "--tlscacert", str(ours / "ca.pem"), *server)
    host.start()
    return tmp_path


PUBLIC = ("--public-address", "node2.lab.org")


class Operator:
    """An operator who runs `godocker node …`."""

    def __init__(self, system: System, host: Host) -> None:
        self.system = system
        self.host = host

    def run(self, *arguments: str, fails: bool = False) -> str:
        done = self.system.run("node", *arguments)
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def add(self, keys: Path, *options: str, fails: bool = False) -> str:
        tls = ("--tls-ca", str(keys / "ca.pem"))
        tls += ("--tls-cert", str(keys / "client" / "cert.pem"), "--tls-key", str(keys / "client" / "key.pem"))
        url = ("--url", self.host.url)
        return self.run("add", "node2", *url, *tls, "--label", "tls=yes", "--cpus", "2", *PUBLIC, *options, fails=fails)

    def rows(self) -> dict[str, Row]:
        return {row.name: row for row in asyncio.run(nodes.every(self.system.settings()))}

    def row_is(self, **wanted: object) -> bool:
        row = self.rows().get("node2")
        return row is not None and all(getattr(row, name) == value for name, value in wanted.items())


@pytest.mark.timeout(600)
def test_a_host_is_added_drained_and_removed_while_the_system_runs(two_hosts: Cluster, keys: Path) -> None:
    with folder() as path:
        ground = SeveralHosts(two_hosts, path)
        only_first = json.dumps([two_hosts["node1"].node])
        # Not less: a watcher that has not heard yet of new certificates tries the old ones in vain, and must not lose the node.
        impatient = {"GODOCKER_NODE_GRACE": "8", "GODOCKER_NODE_LOST_AFTER": "16", "GODOCKER_RECONCILE_SECONDS": "1"}
        with (
            ground.system(GODOCKER_NODES=only_first, **impatient) as system,
            system.client(system.token()) as http,
        ):
            operator, client = Operator(system, two_hosts["node2"]), Client(http)
            wants_tls = {**ground.task("there", HERE), "requirements": {"cpu": 1, "ram": 0.1, "label": ["tls==yes"]}}
            client.http.headers["X-Request-Id"] = "of-the-operator"
            waiter = client.submit(wants_tls)

            check_wrong_certificates(operator, keys)
            said = operator.add(keys / "good")
            assert "added node node2 (version " in said

            client.wait(waiter, "running", timeout=PATIENCE)
            waiting.until_blocking(
                lambda: operator.row_is(state="ready", tasks=1), "it is ready and in use", timeout=PATIENCE
            )
            listed = {row["name"]: row for row in json.loads(operator.run("list", "--json"))}
            row = listed["node2"]
            assert (row["origin"], row["cpus"], row["cpus_used"], row["labels"]["tls"]) == ("added", 2.0, 1.0, "yes")
            assert listed["node1"]["origin"] == "configured"
            assert (listed["node1"]["public_address"], row["public_address"]) == (None, PUBLIC[1])
            assert f"public address: {PUBLIC[1]}\n" in operator.run("show", "node2")
            assert "node1 │ configured │ ready" in operator.run("list")
            assert "from: added" in operator.run("show", "node2")
            assert "the name node2 is taken" in operator.add(keys / "good", fails=True)

            (container,) = two_hosts["node2"].ask("/containers/json")
            assert container["Labels"]["godocker.request"] == "of-the-operator"

            operator.run("drain", "node2")
            late = client.submit(wants_tls)
            waiting.until_blocking(
                lambda: "maintenance" in str(client.status(late)["reason"]), "it is given nothing new", timeout=PATIENCE
            )
            assert "1 tasks are on node2" in operator.run("remove", "node2", fails=True)
            assert operator.row_is(state="draining")
            open_gate(client, waiter)
            assert operator.run("drain", "node2", "--wait").endswith("0 tasks left\n")
            assert client.wait(waiter)["container"]["meta"]["State"]["ExitCode"] == 0
            assert operator.run("remove", "node2") == "removed node node2\n"
            waiting.until_blocking(lambda: "node2" not in operator.rows(), "it is gone", timeout=PATIENCE)
            waiting.until_blocking(
                lambda: "maintenance" not in str(client.status(late)["reason"]), "nobody waits for it", timeout=PATIENCE
            )

            operator.add(keys / "good")
            client.wait(late, "running", timeout=PATIENCE)
            assert "its 1 tasks count as lost" in operator.run("remove", "node2", "--force")
            given_up = client.wait(late, timeout=PATIENCE)
            assert "node2" in given_up["status"]["reason"]
            assert "node1 is in the configuration file" in operator.run("remove", "node1", fails=True)
            for service in ("scheduler", "watcher"):
                assert "Traceback" not in system.log(service)
                assert "node.watch_broke" not in system.log(service)


def check_wrong_certificates(operator: Operator, keys: Path) -> None:
    """A CA of another authority: the engine is not trusted, as `add` and later the list report."""
    assert "certificate verify failed" in operator.add(keys / "foreign", fails=True)
    assert operator.rows().keys() == {"node1"}
    operator.add(keys / "foreign", "--no-check")
    waiting.until_blocking(
        lambda: "certificate verify failed" in (operator.rows()["node2"].reason or ""),
        "it is asked, and not trusted",
        timeout=PATIENCE,
        interval=0.5,
    )
    assert operator.rows()["node2"].state in (State.NOT_READY, State.SILENT)
    assert operator.run("remove", "node2") == "removed node node2\n"


def open_gate(client: Client, task_id: int) -> None:
    path = next(one["path"] for one in client.task(task_id)["container"]["volumes"] if one["name"] == "go-docker")
    Path(path, "gate").touch()
