"""Executors of the acceptance tests: real Docker, and processes."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from shared.executors.docker import body
from tests.acceptance.use.client import Client
from tests.cluster.cluster import Cluster
from tests.support.harness.system import System, running_system
from tests.support.history import Witness

CPUS = 16  #: more than the machine has, so that starts overlap
FAST = {
    "GODOCKER_LEASE_SECONDS": "2",
    "GODOCKER_LEADER_LEASE_SECONDS": "2",
    "GODOCKER_KILL_GRACE": "3",
    "GODOCKER_MONITOR_SECONDS": "1",
}

UID, GID = 23456, 23457  #: of the user alice

EXECUTORS = [pytest.param("docker", marks=pytest.mark.docker), "process"]
#: For stories that are about the rest of the system: told on processes by `make test`, on both by `make test-long`.
DOCKER_IS_LONG = [pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.long]), "process"]


class Ground:
    """An executor and its surroundings for a test."""

    def __init__(
        self, executor: str, folder: Path, environment: dict[str, str], inside: str | None, socket: str = ""
    ) -> None:
        self.executor = executor
        self.engine_socket = socket
        self.witness = Witness(folder, inside=inside)
        self.volumes = [{"name": "witness", "acl": "rw"}] if executor == "docker" else []
        self._environment = environment

    @contextmanager
    def system(self, *arguments: str, **environment: str) -> Iterator[System]:
        """Start GoDocker on this executor."""
        values = {**FAST, **self._environment, **environment}
        with running_system(*arguments, environment=values, executor=self.executor) as system:
            yield system

    def task(self, name: str, cmd: str, **requirements: object) -> dict[str, object]:
        """Return a task to submit."""
        return {
            "meta": {"name": name},
            "requirements": {"cpu": 1, "ram": 0.1, **requirements},
            "container": {"image": "busybox:latest", "volumes": self.volumes, "network": False},
            "command": {"interactive": False, "cmd": cmd},
        }

    def runs(self, system: System) -> list[str]:
        """Return the existing containers, or records of processes."""
        if self.executor == "docker":
            transport = httpx.HTTPTransport(uds=self.engine_socket)
            with httpx.Client(transport=transport, base_url="http://docker", timeout=30) as client:
                return [item["Names"][0] for item in client.get("/containers/json", params={"all": "1"}).json()]
        return [file.name for file in (system.data_dir / "runs").rglob("god-*")]

    def alive(self, system: System, ids: Collection[int]) -> dict[int, str]:
        """Return the running tasks among these, with an identifier of each run: container id, or pid and start."""
        if self.executor == "docker":
            return {task: item["Id"] for item in self._running() if (task := int(item["Labels"][body.TASK])) in ids}
        return {task: leader for task, leader in _leaders(system.data_dir) if task in ids}

    def _running(self) -> list[dict[str, Any]]:
        transport = httpx.HTTPTransport(uds=self.engine_socket)
        with httpx.Client(transport=transport, base_url="http://docker", timeout=30) as client:
            return list(client.get("/containers/json").json())


def _leaders(data_dir: Path) -> Iterator[tuple[int, str]]:
    """Return the leading processes of a system's runs, without their descendants."""
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if str(data_dir) not in environment.get("GODOCKER_PWD", "") or os.getsid(process.pid) != process.pid:
                continue
            yield int(environment["GODOCKER_JID"]), f"{process.pid} since {process.create_time()}"
        except (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError):
            continue


class SeveralHosts(Ground):
    """Docker on the hosts of a cluster. Containers reach the witness even if the network fails."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        volumes = [{"name": "witness", "path": str(folder), "mount": "/mnt/witness", "acl": "rw"}]
        environment = {"GODOCKER_NODES": cluster.nodes, "GODOCKER_VOLUMES": json.dumps(volumes)}
        super().__init__("docker", folder, environment, "/mnt/witness")
        self.cluster = cluster

    def runs(self, system: System) -> list[str]:
        found = [host.ask("/containers/json?all=1") for host in self.cluster.hosts]
        return [item["Names"][0] for containers in found for item in containers]


@pytest.fixture
def several_hosts(cluster: Cluster) -> Iterator[SeveralHosts]:
    """Three hosts of the module's cluster, repaired after the test."""
    with folder() as path:
        yield SeveralHosts(cluster, path)


@pytest.fixture(params=EXECUTORS)
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """Each executor: Docker, then processes."""
    with folder() as path:
        yield _ground(request, path)


@pytest.fixture(params=EXECUTORS, scope="module")
def module_ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """Each executor, for modules whose tests share one system."""
    with folder() as path:
        yield _ground(request, path)


@dataclass
class Place:
    ground: Ground
    system: System
    client: Client


@pytest.fixture(scope="module")
def place(module_ground: Ground) -> Iterator[Place]:
    """A running system, with the user alice logged in."""
    with module_ground.system() as system:
        key = system.add_user("alice", "--uid", str(UID), "--gid", str(GID))
        with system.client(system.token("alice", key)) as http:
            yield Place(module_ground, system, Client(http))


@contextmanager
def folder() -> Iterator[Path]:
    # Not pytest's own, which is closed to the tasks' users.
    with tempfile.TemporaryDirectory(prefix="godocker-ground-") as made:
        os.chmod(made, 0o711)
        yield Path(made) / "witness"


def _ground(request: pytest.FixtureRequest, folder: Path) -> Ground:
    if request.param == "process":
        size = {"GODOCKER_PROCESS_CPUS": str(CPUS), "GODOCKER_PROCESS_MEMORY": "64"}
        return Ground("process", folder, size, None)
    engine = request.getfixturevalue("docker_engine")
    volumes = [
        {"name": "witness", "path": str(folder), "mount": "/mnt/witness", "acl": "rw"},
        {"name": "gone", "path": str(folder / "gone"), "mount": "/mnt/gone", "acl": "ro"},
    ]
    environment = {
        "GODOCKER_NODES": json.dumps([{"name": "node1", "url": engine.url, "cpus": CPUS, "memory": 64}]),
        "GODOCKER_VOLUMES": json.dumps(volumes),
        "GODOCKER_DOCKER_NETWORK": _network(str(engine.socket)),
    }
    return Ground("docker", folder, environment, "/mnt/witness", str(engine.socket))


def _network(socket: str) -> str:
    """Create a network for tasks, since the tests' engine has no default bridge."""
    name = "godocker-test"
    with httpx.Client(transport=httpx.HTTPTransport(uds=socket), base_url="http://docker", timeout=30) as client:
        answer = client.post("/networks/create", json={"Name": name, "Driver": "bridge", "CheckDuplicate": True})
        assert answer.status_code in (201, 409), answer.text
    return name
