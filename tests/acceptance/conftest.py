"""The executors that the acceptance tests run on: real Docker, and processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.history import Witness
from tests.support.system import System, running_system

CPUS = 16  #: more than the machine has, so that starts overlap
FAST = {"GODOCKER_LEASE_SECONDS": "2", "GODOCKER_KILL_GRACE": "3"}


class Ground:
    """One executor with what a test needs around it."""

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
        """A running GoDocker on this executor."""
        values = {**FAST, **self._environment, **environment}
        with running_system(*arguments, environment=values, executor=self.executor) as system:
            yield system

    def task(self, name: str, cmd: str, **requirements: object) -> dict[str, object]:
        """A task to submit."""
        return {
            "meta": {"name": name},
            "requirements": {"cpu": 1, "ram": 0.1, **requirements},
            "container": {"image": "busybox:latest", "volumes": self.volumes, "network": False},
            "command": {"interactive": False, "cmd": cmd},
        }


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "process"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Ground:
    """Docker, then processes."""
    tmp_path.chmod(0o711)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o711)
    folder = tmp_path / "witness"
    if request.param == "process":
        size = {"GODOCKER_PROCESS_CPUS": str(CPUS), "GODOCKER_PROCESS_MEMORY": "64"}
        return Ground("process", folder, size, None)
    engine = request.getfixturevalue("docker_engine")
    volume = {"name": "witness", "path": str(folder), "mount": "/mnt/witness", "acl": "rw"}
    environment = {
        "GODOCKER_NODES": json.dumps([{"name": "node1", "url": engine.url, "cpus": CPUS, "memory": 64}]),
        "GODOCKER_VOLUMES": json.dumps([volume]),
    }
    return Ground("docker", folder, environment, "/mnt/witness", str(engine.socket))
