"""Tests of `godocker up` with an unusable configuration: one sentence, and nothing starts."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from godocker.local import ports
from tests.support.harness.system import COMMAND, clean_environment

CLOSED = "127.0.0.1:9"  #: discard(9), where nobody listens


def refused(folder: Path, *arguments: str, **environment: str) -> str:
    """Return the error of `up`, which must exit with 1 and start nothing."""
    data = folder / "data"
    answer = subprocess.run(
        [*COMMAND, "up", "--data-dir", str(data), "--port", "0", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**clean_environment(), **environment},
    )
    assert answer.returncode == 1, answer.stderr
    assert "Traceback" not in answer.stderr
    assert "process.started" not in answer.stderr
    assert not [*(data / "log").glob("*")]
    return answer.stderr


def test_a_policy_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    said = refused(tmp_path, "--executor", "simulated", GODOCKER_SCHEDULER_POLICY="fare")
    assert "there is no policy fare; choose from fairshare, fifo" in said


def test_an_engine_that_does_not_answer_is_told_with_its_address(tmp_path: Path) -> None:
    said = refused(tmp_path, "--executor", "docker", DOCKER_HOST=f"unix://{tmp_path}/nothing.sock")
    assert f"no Docker Engine answers at unix://{tmp_path}/nothing.sock" in said


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"GODOCKER_MONGO_URL": f"mongodb://u:hunter2@{CLOSED}/"}, f"MongoDB at {CLOSED} does not answer"),
        ({"GODOCKER_MONGO_URL": "mongodb://u:hunter2@host:abc/"}, "mongo_url: has a port that is not a number"),
        ({"GODOCKER_REDIS_HOST": "127.0.0.1", "GODOCKER_REDIS_PORT": "9"}, CLOSED),
    ],
)
def test_a_store_that_does_not_answer_is_told_with_its_address_and_without_its_password(
    tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    told = refused(tmp_path, "--executor", "simulated", **environment, GODOCKER_MONGO_TIMEOUT="1")
    assert said in told
    assert "hunter2" not in told
    assert "Is the system running" not in told


def test_a_port_that_is_in_use_is_told_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path, "--executor", "simulated", GODOCKER_WATCHER_PORT=str(port))
    assert f"watcher_port: cannot listen on 127.0.0.1:{port}: Address already in use" in said
    assert said.count(str(port)) == 1


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("300.1.2.3", "300.1.2.3 is not the name or address of a host"),
        ("no.such.host.invalid", "no.such.host.invalid is not the name or address of a host"),
        ("192.0.2.7", "192.0.2.7 is not an address of this machine"),
        ("http://localhost", "http://localhost is not the name or address of a host"),
    ],
)
def test_a_host_that_cannot_be_listened_on_is_told_with_the_reason(tmp_path: Path, host: str, said: str) -> None:
    assert said in refused(tmp_path, "--executor", "simulated", "--host", host)
