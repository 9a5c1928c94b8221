"""The probe of `godocker doctor`, which checks a real engine's host from inside a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from godocker.checks import hosts, probe
from godocker.checks.findings import State
from godocker.docker import engine_probe
from godocker.docker.local_engine import LocalEngine
from shared.settings import Node, Settings
from tests.contract.test_docker_inside import noexec

pytestmark = pytest.mark.docker


@pytest.fixture
def node(docker_engine: LocalEngine) -> Node:
    return Node(name="n1", url=docker_engine.url)


def test_a_shared_directory_that_the_host_sees_too_is_well_and_nothing_is_left(node: Node, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o711)
    found = hosts.check(Settings(nodes=[node], shared_dir=tmp_path))
    details = [finding.detail for finding in found]
    assert f"{tmp_path} is the same directory as on this machine" in details
    assert any("GB free for images and containers" in detail for detail in details)
    assert list(tmp_path.iterdir()) == []


def test_a_shared_directory_that_is_not_there_is_not_well(node: Node, tmp_path: Path) -> None:
    (finding,) = probe.check("engine n1", node, tmp_path / "missing")
    assert finding.state is State.WARNING
    assert "No such file" in finding.detail


def test_a_host_without_the_directory_is_not_well(node: Node, tmp_path: Path) -> None:
    with engine_probe.client(node, timeout=probe.TIMEOUT) as http:
        (finding,) = probe.inside("engine n1", http, tmp_path / "of-another-host" / "marker")
    assert finding.state is State.BAD
    assert "mount it at this path" in finding.detail


def test_a_host_where_nothing_in_the_directory_can_be_executed_is_not_well(node: Node, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o711)
    with noexec(str(tmp_path)):
        found = probe.check("engine n1", node, tmp_path)
    (finding,) = [one for one in found if "noexec" in one.detail]
    assert finding.state is State.BAD
    assert not [one for one in probe.check("engine n1", node, tmp_path) if "noexec" in one.detail]
